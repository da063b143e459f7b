"""Between pictures and latents."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from diffusers.image_processor import VaeImageProcessor
from diffusers.utils.torch_utils import randn_tensor
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import interpolate

from services.imagegen.domain import Job, Pixels

GLANCE = 32
"""Longest side, in latents, of what is decoded for a preview."""


class Vae:
    """The autoencoder of a diffusers pipeline.

    `upcasts` tells whether the pipeline runs it in 32-bit floating point where its configuration says so (SDXL does,
    because it overflows in float16; the others ignore that field).
    """

    def __init__(self, pipeline: Any, *, upcasts: bool = False) -> None:
        self._pipeline = pipeline
        self._processor = pipeline.image_processor
        self.factor: int = pipeline.vae_scale_factor
        """Pixels of a picture to one latent, a side."""
        config = pipeline.vae.config
        self._scale: float = config.scaling_factor
        self._shift: float = config.shift_factor or 0.0
        self._upcasts = upcasts and bool(config.force_upcast)
        self._masks = VaeImageProcessor(
            vae_scale_factor=self.factor, do_normalize=False, do_binarize=True, do_convert_grayscale=True
        )

    @property
    def decodes_in_fp32(self) -> bool:
        """Tell whether pictures are decoded in 32-bit floating point anyway."""
        dtype = self._vae.dtype
        return bool(dtype == torch.float32 or (dtype == torch.float16 and self._upcasts))

    @property
    def _vae(self) -> Any:
        return self._pipeline.vae

    def shape(self, job: Job) -> tuple[int, int, int, int]:
        """Return the shape of a job's latents."""
        return (1, self._vae.config.latent_channels, job.height // self.factor, job.width // self.factor)

    def encode(self, pixels: Pixels, job: Job, dtype: torch.dtype, generator: torch.Generator) -> torch.Tensor:
        """Return a picture, fitted to the job's size, as latents."""
        image = self._processor.preprocess(Image.fromarray(pixels), height=job.height, width=job.width)
        with self._precision(fp32=self._upcasts):
            image = image.to(self._pipeline._execution_device, self._vae.dtype)
            latents: torch.Tensor = self._vae.encode(image).latent_dist.sample(generator).to(dtype)
        if (statistics := self._statistics(latents)) is not None:
            mean, deviation = statistics
            return (latents - mean) * self._scale / deviation
        return (latents - self._shift) * self._scale

    def draw(self, latents: torch.Tensor, generator: torch.Generator) -> None:
        """Draw what sampling a picture draws, without the picture, so that later draws are what they would be."""
        randn_tensor(latents.shape, generator=generator, dtype=torch.float32 if self._upcasts else self._vae.dtype)

    def mask(self, mask: NDArray[np.uint8], job: Job, latents: torch.Tensor) -> torch.Tensor:
        """Return a mask over `latents`, shape (1, 1, height, width), 1 where it is painted anew."""
        whole = self._masks.preprocess(Image.fromarray(mask), height=job.height, width=job.width)
        return interpolate(whole, size=latents.shape[-2:]).to(latents.device, latents.dtype)

    def decode(self, latents: torch.Tensor, *, fp32: bool = False) -> torch.Tensor:
        """Return the picture of some latents, shape (3, height, width), 0 to 1."""
        with self._precision(fp32=fp32 or (self._upcasts and self._vae.dtype == torch.float16)):
            latents = latents.to(self._vae.dtype)
            if (statistics := self._statistics(latents)) is not None:
                mean, deviation = statistics
                latents = latents * deviation / self._scale + mean
            else:
                latents = latents / self._scale + self._shift
            image: torch.Tensor = self._vae.decode(latents, return_dict=False)[0][0]
        return (image * 0.5 + 0.5).clamp(0, 1)

    def glance(self, latents: torch.Tensor) -> torch.Tensor:
        """Return a small picture of some latents: a whole one would cost more than a step."""
        longest = max(latents.shape[-2:])
        if longest > GLANCE:
            latents = interpolate(latents.float(), scale_factor=GLANCE / longest, mode="area")
        return self.decode(latents.to(self._vae.dtype))

    def _statistics(self, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return mean and standard deviation by channel, None where the weights do not say."""
        config = self._vae.config
        if config.get("latents_mean") is None or config.get("latents_std") is None:
            return None
        mean, deviation = (
            latents.new_tensor(each).view(1, -1, 1, 1) for each in (config.latents_mean, config.latents_std)
        )
        return mean, deviation

    @contextmanager
    def _precision(self, *, fp32: bool) -> Iterator[None]:
        """Have the weights in 32-bit floating point for a while."""
        usual = self._vae.dtype
        if not fp32 or usual == torch.float32:
            yield
            return
        self._vae.to(dtype=torch.float32)
        try:
            yield
        finally:
            self._vae.to(dtype=usual)
