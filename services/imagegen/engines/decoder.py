"""From latents to pictures."""

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.functional import interpolate

from servekit.device import is_out_of_memory

logger = logging.getLogger(__name__)

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
        self.dtype: torch.dtype = vae.dtype
        """Data type of the weights. Asked once: the autoencoder walks through all its modules to tell."""

    @property
    def decodes_in_fp32(self) -> bool:
        """Tell whether pictures are decoded in 32-bit floating point anyway."""
        return self.dtype == torch.float32 or (self.dtype == torch.float16 and self.upcasts)

    def decode(self, latents: torch.Tensor, *, fp32: bool = False) -> tuple[torch.Tensor, bool]:
        """Return the pictures of latents, shape (n, 3, height, width), 0 to 1, and whether they were made of tiles.

        They are where there is no memory for a whole one; overlapping tiles of half the side take about a quarter.
        """
        with self.precision(fp32=fp32 or (self.upcasts and self.dtype == torch.float16)) as dtype:
            unscaled = self.unscaled(latents.to(dtype))
            images = self._whole(unscaled)
            tiled = images is None
            if images is None:
                with self._tiles(max(unscaled.shape[-2:]) // 2):
                    images = self._vae.decode(unscaled, return_dict=False)[0]
        return (images * 0.5 + 0.5).clamp(0, 1), tiled

    def glance(self, latents: torch.Tensor) -> torch.Tensor:
        """Return a small picture of some latents: a whole one would cost more than a step."""
        longest = max(latents.shape[-2:])
        if longest > GLANCE:
            latents = interpolate(latents.float(), scale_factor=GLANCE / longest, mode="area")
        return self.decode(latents.to(self.dtype))[0][0]

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
    def precision(self, *, fp32: bool) -> Iterator[torch.dtype]:
        """Have the weights in 32-bit floating point for a while, if wanted; yield what they are in."""
        if not fp32 or self.dtype == torch.float32:
            yield self.dtype
            return
        try:  # it may be out of memory half-way, and other pictures are decoded in what the weights were in
            self._vae.to(dtype=torch.float32)
            yield torch.float32
        finally:
            self._vae.to(dtype=self.dtype)

    def _whole(self, latents: torch.Tensor) -> torch.Tensor | None:
        """Return pictures decoded in one piece, None where there is no memory for that."""
        try:
            images: torch.Tensor = self._vae.decode(latents, return_dict=False)[0]
            return images
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            traceback.clear_frames(error.__traceback__)  # they hold what memory there is
            logger.warning("no memory to decode a picture in one piece: it is decoded in tiles")
            return None

    @contextmanager
    def _tiles(self, side: int) -> Iterator[None]:
        """Have larger latents decoded in tiles of `side` latents for a while."""
        sizes = {"use_tiling": True, "tile_latent_min_size": side, "tile_sample_min_size": side * self.factor}
        usual = {name: getattr(self._vae, name) for name in sizes}
        vars(self._vae).update(sizes)
        try:
            yield
        finally:
            vars(self._vae).update(usual)

    def _statistics(self, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return mean and standard deviation by channel, None where the weights do not say."""
        config = self._vae.config
        if config.get("latents_mean") is None or config.get("latents_std") is None:
            return None
        mean, deviation = (
            latents.new_tensor(each).view(1, -1, 1, 1) for each in (config.latents_mean, config.latents_std)
        )
        return mean, deviation
