"""Between pictures and latents."""

from typing import Any

import numpy as np
import torch
from diffusers.image_processor import VaeImageProcessor
from diffusers.utils.torch_utils import randn_tensor
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import interpolate

from services.imagegen.domain import Job, Pixels
from services.imagegen.engines.decoder import Decoder


class Vae:
    """The autoencoder of a diffusers pipeline. `upcasts` is as for `Decoder`."""

    def __init__(self, pipeline: Any, *, upcasts: bool = False) -> None:
        self._vae = pipeline.vae
        self._processor = pipeline.image_processor
        self.device: torch.device = pipeline._execution_device
        """Where the whole pipeline works. Asked once: the pipeline walks through all its modules to tell."""
        self.decoder = Decoder(pipeline.vae, upcasts=upcasts)
        self.factor: int = pipeline.vae_scale_factor
        """Pixels of a picture to one latent, a side."""
        self._masks = VaeImageProcessor(
            vae_scale_factor=self.factor, do_normalize=False, do_binarize=True, do_convert_grayscale=True
        )

    def shape(self, job: Job) -> tuple[int, int, int, int]:
        """Return the shape of a job's latents."""
        return (1, self.decoder.channels, job.height // self.factor, job.width // self.factor)

    def encode(self, pixels: Pixels, job: Job, dtype: torch.dtype, generator: torch.Generator) -> torch.Tensor:
        """Return a picture, fitted to the job's size, as latents."""
        image = self._processor.preprocess(Image.fromarray(pixels), height=job.height, width=job.width)
        with self.decoder.precision(fp32=self.decoder.upcasts) as precise:
            image = image.to(self.device, precise)
            latents: torch.Tensor = self._vae.encode(image).latent_dist.sample(generator).to(dtype)
        return self.decoder.scaled(latents)

    def draw(self, latents: torch.Tensor, generator: torch.Generator) -> None:
        """Draw what sampling a picture draws, without the picture, so that later draws are what they would be."""
        dtype = torch.float32 if self.decoder.upcasts else self.decoder.dtype
        randn_tensor(latents.shape, generator=generator, dtype=dtype)

    def mask(self, mask: NDArray[np.uint8], job: Job, latents: torch.Tensor) -> torch.Tensor:
        """Return a mask over `latents`, shape (1, 1, height, width), 1 where it is painted anew."""
        whole = self._masks.preprocess(Image.fromarray(mask), height=job.height, width=job.width)
        return interpolate(whole, size=latents.shape[-2:]).to(latents.device, latents.dtype)
