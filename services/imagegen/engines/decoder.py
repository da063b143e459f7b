"""From latents to pictures."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.functional import interpolate

GLANCE = 32
"""Longest side, in latents, of what is decoded for a preview."""


class Decoder:
    """One of diffusers' autoencoders, the full one or a tiny one: each says how the latents are scaled for it.

    `upcasts` tells whether it runs in 32-bit floating point where its configuration says so (SDXL's does, because it
    overflows in float16; other pipelines ignore that field).
    """

    def __init__(self, vae: Any, *, upcasts: bool = False) -> None:
        self._vae = vae
        config = vae.config
        self.channels: int = config.latent_channels
        self.factor: int = 2 ** (len(config.block_out_channels) - 1)
        """Pixels of a picture to one latent, a side."""
        self._scale: float = config.scaling_factor
        self._shift: float = config.shift_factor or 0.0
        self.upcasts = upcasts and bool(config.force_upcast)

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the weights."""
        dtype: torch.dtype = self._vae.dtype
        return dtype

    @property
    def decodes_in_fp32(self) -> bool:
        """Tell whether pictures are decoded in 32-bit floating point anyway."""
        return self.dtype == torch.float32 or (self.dtype == torch.float16 and self.upcasts)

    def decode(self, latents: torch.Tensor, *, fp32: bool = False) -> torch.Tensor:
        """Return the picture of some latents, shape (3, height, width), 0 to 1."""
        with self.precision(fp32=fp32 or (self.upcasts and self.dtype == torch.float16)):
            unscaled = self.unscaled(latents.to(self.dtype))
            image: torch.Tensor = self._vae.decode(unscaled, return_dict=False)[0][0]
        return (image * 0.5 + 0.5).clamp(0, 1)

    def glance(self, latents: torch.Tensor) -> torch.Tensor:
        """Return a small picture of some latents: a whole one would cost more than a step."""
        longest = max(latents.shape[-2:])
        if longest > GLANCE:
            latents = interpolate(latents.float(), scale_factor=GLANCE / longest, mode="area")
        return self.decode(latents.to(self.dtype))

    def scaled(self, latents: torch.Tensor) -> torch.Tensor:
        """Return latents of the autoencoder as the denoising network knows them."""
        if (statistics := self._statistics(latents)) is not None:
            mean, deviation = statistics
            return (latents - mean) * self._scale / deviation
        return (latents - self._shift) * self._scale

    def unscaled(self, latents: torch.Tensor) -> torch.Tensor:
        """Return latents of the denoising network as the autoencoder knows them."""
        if (statistics := self._statistics(latents)) is not None:
            mean, deviation = statistics
            return latents * deviation / self._scale + mean
        return latents / self._scale + self._shift

    @contextmanager
    def precision(self, *, fp32: bool) -> Iterator[None]:
        """Have the weights in 32-bit floating point for a while."""
        usual = self.dtype
        if not fp32 or usual == torch.float32:
            yield
            return
        self._vae.to(dtype=torch.float32)
        try:
            yield
        finally:
            self._vae.to(dtype=usual)

    def _statistics(self, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return mean and standard deviation by channel, None where the weights do not say."""
        config = self._vae.config
        if config.get("latents_mean") is None or config.get("latents_std") is None:
            return None
        mean, deviation = (
            latents.new_tensor(each).view(1, -1, 1, 1) for each in (config.latents_mean, config.latents_std)
        )
        return mean, deviation
