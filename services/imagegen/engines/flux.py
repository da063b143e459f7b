"""FLUX. `diffusers.FluxPipeline.__call__` is the oracle of its tests.

The order of operations differs in one point: both halves of the guidance run in one batch here, one after the other
there.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.flux.pipeline_flux import calculate_shift

from services.imagegen.domain import Job
from services.imagegen.engines.denoising import Sample
from services.imagegen.engines.flow import FlowFamily
from services.imagegen.engines.parts import Parts
from services.imagegen.engines.prompt_cache import Embeddings
from services.imagegen.engines.stepwise import StepwiseEngine

_PATCH = 2
"""Side of the squares of latents that a FLUX pipeline packs into one token."""


def build(parts: Parts) -> StepwiseEngine:
    """Return the engine of a FLUX pipeline."""
    return StepwiseEngine(parts, Flux(parts.row, parts.pipeline, patch=_PATCH))


class Flux(FlowFamily):
    """FLUX, its velocities by its transformer."""

    def __call__(self, samples: Sequence[Sample]) -> torch.Tensor:
        """Return the velocities."""
        pipeline, job = self._pipeline, samples[0].job
        latents = torch.cat([each.latents for each in samples])
        embeddings = torch.cat([each.text[0] for each in samples])
        grid = (latents.shape[2] // 2, latents.shape[3] // 2)
        velocity = pipeline.transformer(
            hidden_states=pipeline._pack_latents(latents, *latents.shape),
            timestep=torch.stack([each.timestep for each in samples]).to(latents.dtype) / 1000,
            guidance=self._embedded_guidance(samples),
            pooled_projections=torch.cat([each.text[1] for each in samples]),
            encoder_hidden_states=embeddings,
            txt_ids=torch.zeros(embeddings.shape[1], 3, device=latents.device, dtype=latents.dtype),
            img_ids=pipeline._prepare_latent_image_ids(1, *grid, latents.device, latents.dtype),
            return_dict=False,
        )[0]
        unpacked: torch.Tensor = pipeline._unpack_latents(velocity, job.height, job.width, self.vae.factor)
        return unpacked

    def _encode(self, prompts: Sequence[str]) -> list[Embeddings]:
        embeddings, pooled, _ = self._pipeline.encode_prompt(
            prompt=list(prompts), prompt_2=None, device=self.vae.device, max_sequence_length=self._row.max_tokens
        )
        return list(zip(embeddings.split(1), pooled.split(1), strict=True))

    def _scheduler(self, job: Job) -> Any:
        """Return a scheduler of the job's own, its steps shifted by the size of the picture."""
        scheduler = self._schedulers.fresh(job.scheduler)
        config = scheduler.config
        shift = calculate_shift(
            (job.height // self.side) * (job.width // self.side),
            config.get("base_image_seq_len", 256),
            config.get("max_image_seq_len", 4096),
            config.get("base_shift", 0.5),
            config.get("max_shift", 1.15),
        )
        sigmas = np.linspace(1.0, 1 / job.steps, job.steps)
        scheduler.set_timesteps(sigmas=sigmas, mu=shift, device=self.vae.device)
        return scheduler

    def _embedded_guidance(self, samples: Sequence[Sample]) -> torch.Tensor | None:
        if not self._pipeline.transformer.config.guidance_embeds:
            return None
        scales = [each.job.guidance for each in samples]
        return torch.tensor(scales, dtype=torch.float32, device=samples[0].latents.device)
