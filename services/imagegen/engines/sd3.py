"""Stable Diffusion 3, with or without its T5 encoder. `diffusers.StableDiffusion3Pipeline.__call__` is the oracle."""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import calculate_shift

from services.imagegen.domain import Job
from services.imagegen.engines.denoising import Sample
from services.imagegen.engines.flow import FlowFamily
from services.imagegen.engines.parts import Parts
from services.imagegen.engines.prompt_cache import Embeddings
from services.imagegen.engines.stepwise import StepwiseEngine


def build(parts: Parts) -> StepwiseEngine:
    """Return the engine of a Stable Diffusion 3 pipeline."""
    patch = parts.pipeline.transformer.config.patch_size
    return StepwiseEngine(parts, StableDiffusion3(parts.row, parts.pipeline, patch=patch))


class StableDiffusion3(FlowFamily):
    """Stable Diffusion 3, its velocities by its transformer."""

    def __call__(self, samples: Sequence[Sample]) -> torch.Tensor:
        """Return the velocities."""
        velocity: torch.Tensor = self._pipeline.transformer(
            hidden_states=torch.cat([each.latents for each in samples]),
            timestep=torch.stack([each.timestep.float() for each in samples]),
            encoder_hidden_states=torch.cat([each.text[0] for each in samples]),
            pooled_projections=torch.cat([each.text[1] for each in samples]),
            return_dict=False,
        )[0]
        return velocity

    def _encode(self, prompts: Sequence[str]) -> list[Embeddings]:
        """Return token embeddings, CLIP's before T5's, and pooled ones. Without T5 its part is zero."""
        tokens, _, pooled, _ = self._pipeline.encode_prompt(
            list(prompts),
            prompt_2=None,
            prompt_3=None,
            device=self.vae.device,
            do_classifier_free_guidance=False,
            max_sequence_length=self._row.max_tokens,
        )
        return list(zip(tokens.split(1), pooled.split(1), strict=True))

    def _scheduler(self, job: Job) -> Any:
        """Return a scheduler of the job's own, its steps shifted by the picture's size where the weights say so."""
        scheduler = self._schedulers.fresh(job.scheduler)
        config = scheduler.config
        options = {}
        if config.get("use_dynamic_shifting"):
            options["mu"] = calculate_shift(
                (job.height // self.side) * (job.width // self.side),
                config.get("base_image_seq_len", 256),
                config.get("max_image_seq_len", 4096),
                config.get("base_shift", 0.5),
                config.get("max_shift", 1.16),
            )
        scheduler.set_timesteps(job.steps, device=self.vae.device, **options)
        return scheduler
