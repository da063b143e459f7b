"""Drawing with the exported model, as the product does."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from recipes.scenes.canvas import SIZE, Picture
from recipes.sketch.library import FluxPipeline, Pipeline
from recipes.sketch.session import device
from recipes.sketch.tokens import MAX_TOKENS


@dataclass(frozen=True)
class Settings:
    """Denoising steps and classifier-free guidance against the empty prompt (1 switches it off)."""

    steps: int = 14
    guidance: float = 3.5


def load(folder: Path, dtype: torch.dtype = torch.float32) -> Pipeline:
    """The model of a folder, on the training device."""
    pipeline = FluxPipeline.from_pretrained(folder, dtype=dtype).to(device())
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def paint(pipeline: Pipeline, prompts: Sequence[str], seeds: Sequence[int], settings: Settings) -> list[Picture]:
    """One picture for each prompt and seed."""
    images = pipeline(
        prompt=list(prompts),
        negative_prompt=[""] * len(prompts),
        height=SIZE,
        width=SIZE,
        num_inference_steps=settings.steps,
        true_cfg_scale=settings.guidance,
        max_sequence_length=MAX_TOKENS,
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        output_type="np",
    ).images
    return list(np.round(images * 255).astype(np.uint8))
