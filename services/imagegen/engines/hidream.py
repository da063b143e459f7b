"""HiDream-I1 with its four text encoders. `diffusers.HiDreamImagePipeline.__call__` is the oracle of its tests."""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import UniPCMultistepScheduler
from diffusers.pipelines.hidream_image.pipeline_hidream_image import calculate_shift

from services.imagegen.domain import Job
from services.imagegen.engines.denoising import Sample
from services.imagegen.engines.flow import FlowFamily
from services.imagegen.engines.parts import Parts
from services.imagegen.engines.prompt_cache import Embeddings
from services.imagegen.engines.stepwise import StepwiseEngine


def build(parts: Parts) -> StepwiseEngine:
    """Return the engine of a HiDream pipeline."""
    patch = parts.pipeline.transformer.config.patch_size
    return StepwiseEngine(parts, HiDream(parts.row, parts.pipeline, patch=patch))


class HiDream(FlowFamily):
    """HiDream, its velocities by its transformer."""

    def __call__(self, samples: Sequence[Sample]) -> torch.Tensor:
        """Return the velocities; the network gives them the other way round."""
        velocity: torch.Tensor = self._pipeline.transformer(
            hidden_states=torch.cat([each.latents for each in samples]),
            timesteps=torch.stack([each.timestep for each in samples]),
            encoder_hidden_states_t5=torch.cat([each.text[0] for each in samples]),
            encoder_hidden_states_llama3=torch.cat([each.text[1] for each in samples], dim=1),
            pooled_embeds=torch.cat([each.text[2] for each in samples]),
            return_dict=False,
        )[0]
        return -velocity

    def _encode(self, prompts: Sequence[str]) -> list[Embeddings]:
        """Return T5's embeddings (1, tokens, features), Llama's (layers, 1, tokens, features), CLIP's pooled."""
        t5, _, llama, _, pooled, _ = self._pipeline.encode_prompt(
            list(prompts),
            device=self.vae.device,
            do_classifier_free_guidance=False,
            max_sequence_length=self._row.max_tokens,
        )
        return list(zip(t5.split(1), llama.split(1, dim=1), pooled.split(1), strict=True))

    def _scheduler(self, job: Job) -> Any:
        scheduler = self._schedulers.fresh(job.scheduler)
        shift = {"mu": calculate_shift(self._pipeline.transformer.max_seq)}
        options = {} if isinstance(scheduler, UniPCMultistepScheduler) else shift
        scheduler.set_timesteps(job.steps, device=self.vae.device, **options)
        return scheduler
