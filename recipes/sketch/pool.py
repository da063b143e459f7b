"""A pool of encoded scenes: fresh ones come in with every batch, older ones are drawn again under new captions."""

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from recipes.scenes.captions import caption
from recipes.scenes.scene import FIELDS, Scene, draw, is_held_out, sample
from recipes.sketch.autoencoder import to_tensor
from recipes.sketch.library import Autoencoder
from recipes.sketch.models import pack
from recipes.sketch.session import autocast

_COMPLETE_SHARE = 0.5
"""Captions that leave nothing out: they bind every colour to its thing, the others teach short prompts."""

_SHARES = {"landscape": 3, "portrait": 6, "poster": 4, "logo": 7}
"""How often each field is drawn: letters and faces take longer to learn than skies."""


@dataclass(frozen=True)
class PoolSize:
    """How many scenes the pool keeps, and how many new ones replace the oldest per batch."""

    capacity: int = 48_000
    first: int = 16_000
    fresh: int = 8


class LatentPool:
    """Encoded training scenes of one field, or of all."""

    def __init__(self, autoencoder: Autoencoder, size: PoolSize, first_seed: int, field: str | None = None) -> None:
        self._autoencoder = autoencoder.eval()
        self._size = size
        self._field = field
        self._scenes: list[Scene] = []
        self._latents: list[Tensor] = []
        self._oldest = 0
        self.seed = first_seed
        while len(self._scenes) < size.first:
            self._refill()

    def batch(self, count: int, empty_share: float, rng: random.Random) -> tuple[Tensor, list[str]]:
        """Packed latents [count, tokens, 64] and captions, of which `empty_share` are empty."""
        self._refill()
        chosen = [rng.randrange(len(self._scenes)) for _ in range(count)]
        words = ["" if rng.random() < empty_share else self._caption(index, rng) for index in chosen]
        return torch.stack([self._latents[index] for index in chosen]).float(), words

    def _caption(self, index: int, rng: random.Random) -> str:
        return caption(self._scenes[index], rng, complete=rng.random() < _COMPLETE_SHARE)

    def _refill(self) -> None:
        scenes = self._next_scenes()
        encoded = encode(self._autoencoder, to_tensor([draw(scene) for scene in scenes])).half()
        for scene, latents in zip(scenes, encoded, strict=True):
            if len(self._scenes) < self._size.capacity:
                self._scenes.append(scene)
                self._latents.append(latents)
            else:
                self._scenes[self._oldest], self._latents[self._oldest] = scene, latents
                self._oldest = (self._oldest + 1) % self._size.capacity

    def _next_scenes(self) -> list[Scene]:
        scenes: list[Scene] = []
        while len(scenes) < self._size.fresh:
            scene = sample(self.seed, self._field or _field(self.seed))
            self.seed += 1
            if not is_held_out(scene):
                scenes.append(scene)
        return scenes


def _field(seed: int) -> str:
    return random.Random(f"field {seed}").choices(FIELDS, [_SHARES[field] for field in FIELDS])[0]


@torch.no_grad()
def encode(autoencoder: Autoencoder, pictures: Tensor) -> Tensor:
    """Pictures [batch, 3, 96, 96] as normalised, packed latents [batch, 36, 64]."""
    with autocast():
        latents = autoencoder.encode(pictures).latent_dist.mode().float()
    return pack((latents - autoencoder.config.shift_factor) * autoencoder.config.scaling_factor)
