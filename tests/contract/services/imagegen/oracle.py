"""diffusers' own pipelines, called as a user of the library would."""

from typing import Any

import numpy as np
import torch

from services.imagegen.domain import Pixels, SourceImage

TOLERANCE = 2
"""Of 255, where the order of operations differs."""
SOURCE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
MASK = np.zeros((32, 32), np.uint8)
MASK[:, 16:] = 255


def picture(pipeline: Any, *, seed: int = 7, generator: torch.Generator | None = None, **call: Any) -> Pixels:
    """Return the picture that a pipeline makes of "a red lake", 32 pixels a side unless said otherwise."""
    return to_pixels(called(pipeline, generator or torch.Generator("cpu").manual_seed(seed), **call)[0])


def called(pipeline: Any, generator: torch.Generator, **call: Any) -> Any:
    """Return what a pipeline makes of "a red lake": NumPy arrays in 0 to 1, or latents if asked for."""
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(**{"prompt": "a red lake", "generator": generator, "output_type": "np", **call}).images


def to_pixels(image: Any) -> Pixels:
    """Return an array in 0 to 1 as bytes."""
    pixels: Pixels = (image * 255).round().astype(np.uint8)
    return pixels


def source(strength: float, *, masked: bool = False) -> SourceImage:
    """Return a picture of noise to start from; its right half is painted anew if it is masked."""
    return SourceImage(SOURCE, MASK if masked else None, strength)
