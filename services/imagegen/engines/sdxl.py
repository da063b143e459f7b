"""SDXL, with or without its refiner. `diffusers.StableDiffusionXLPipeline.__call__` is the oracle of its tests."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from services.imagegen.domain import Job
from services.imagegen.engines.clip import LongPrompts, padded
from services.imagegen.engines.denoising import Leg, Sample
from services.imagegen.engines.parts import Parts
from services.imagegen.engines.prompt_cache import Embeddings
from services.imagegen.engines.schedulers import Schedulers
from services.imagegen.engines.stepwise import StepwiseEngine
from services.imagegen.engines.texts import Texts
from services.imagegen.engines.vae import Vae

_AESTHETIC, _UNAESTHETIC = 6.0, 2.5
"""Scores that the refiner is told for the prompt and for the negative prompt: the library's defaults."""


def build(parts: Parts) -> StepwiseEngine:
    """Return the engine of an SDXL pipeline."""
    base = Sdxl(UNet(parts.pipeline), parts.row.max_tokens)
    refiner = parts.row.refiner
    if parts.refiner is None or refiner is None:
        return StepwiseEngine(parts, base)
    return StepwiseEngine(parts, Refined(base, Sdxl(UNet(parts.refiner), parts.row.max_tokens), refiner.start))


class UNet:
    """SDXL's network, of the base or of the refiner."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline
        self._scored = bool(pipeline.config.get("requires_aesthetics_score"))

    @property
    def embeds_guidance(self) -> bool:
        """Tell whether the guidance scale was distilled into the weights, so that there is no second pass."""
        return self.pipeline.unet.config.time_cond_proj_dim is not None

    def __call__(self, samples: Sequence[Sample]) -> torch.Tensor:
        """Return the predicted noise."""
        pooled = torch.cat([each.text[1] for each in samples])
        prediction: torch.Tensor = self.pipeline.unet(
            torch.cat([each.latents for each in samples]),
            torch.stack([each.timestep.float() for each in samples]),
            encoder_hidden_states=torch.cat([each.text[0] for each in samples]),
            timestep_cond=self._embedded_guidance(samples),
            added_cond_kwargs={"text_embeds": pooled, "time_ids": self._sizes(samples, pooled)},
            return_dict=False,
        )[0]
        return prediction

    def _sizes(self, samples: Sequence[Sample], like: torch.Tensor) -> torch.Tensor:
        """Return what SDXL is told of size and cropping (the refiner: of beauty), shape (samples, 6 or 5)."""
        rows = []
        for each in samples:
            size = (each.job.height, each.job.width)
            score = _UNAESTHETIC if each.negative else _AESTHETIC
            rows.append((*size, 0, 0, score) if self._scored else (*size, 0, 0, *size))
        return torch.tensor(rows, dtype=like.dtype, device=like.device)

    def _embedded_guidance(self, samples: Sequence[Sample]) -> torch.Tensor | None:
        if not self.embeds_guidance:
            return None
        scales = torch.tensor([each.job.guidance - 1 for each in samples])
        size, like = self.pipeline.unet.config.time_cond_proj_dim, samples[0].latents
        embedded: torch.Tensor = self.pipeline.get_guidance_scale_embedding(scales, embedding_dim=size)
        return embedded.to(like.device, like.dtype)


class Sdxl:
    """SDXL as a `stepwise.Family`."""

    def __init__(self, network: UNet, max_tokens: int) -> None:
        self.vae = Vae(network.pipeline, upcasts=True)
        self.side = self.vae.factor
        self._network = network
        self._pipeline = network.pipeline
        self._schedulers = Schedulers(network.pipeline.scheduler)
        self._prompts = LongPrompts(network.pipeline, max_tokens, self.vae.device)
        self._texts = Texts(self._prompts.encode, self._encode_negative)

    def legs(self, job: Job) -> Sequence[Leg]:
        """Encode the prompt and plan the steps."""
        skipped = 0 if job.source is None else job.steps - max(int(job.steps * job.source.strength), 1)
        return [self.leg(job, skipped)]

    def reading(self, jobs: Sequence[Job]) -> AbstractContextManager[None]:
        """Have prompts encoded in one pass."""
        return self._texts.together(jobs)

    def leg(self, job: Job, skipped: int = 0) -> Leg:
        """Return the leg over all steps but the first ones."""
        guided = job.guidance > 1 and not self._network.embeds_guidance
        text, negative = self._alike(*self._texts.of(job, guided=guided))
        scheduler = self._schedulers.fresh(job.scheduler)
        scheduler.set_timesteps(job.steps, device=self.vae.device)
        leg = Leg(self._network, scheduler, scheduler.timesteps, text, negative)
        leg.leave_out(skipped * scheduler.order)
        return leg

    def _alike(self, text: Embeddings, negative: Embeddings | None) -> tuple[Embeddings, Embeddings | None]:
        """Make both prompts equally long: they share a forward pass."""
        if negative is None or text[0].shape == negative[0].shape:
            return text, negative
        length = max(text[0].shape[1], negative[0].shape[1])
        return (
            padded(text, self._empty, length),
            padded(negative, self._encode_negative(""), length),
        )

    def _encode_negative(self, prompt: str) -> Embeddings:
        if not prompt and self._pipeline.config.get("force_zeros_for_empty_prompt"):
            return tuple(torch.zeros_like(each) for each in self._empty)
        return self._prompts.encode([prompt])[0]

    @property
    def _empty(self) -> Embeddings:
        return self._prompts.encode([""])[0]


class Refined:
    """SDXL whose last steps are the refiner's, from the share `start` of the noise schedule on."""

    def __init__(self, base: Sdxl, refiner: Sdxl, start: float) -> None:
        self.vae = base.vae
        self.side = base.side
        self._base = base
        self._refiner = refiner
        self._start = start

    def legs(self, job: Job) -> Sequence[Leg]:
        """Plan the steps of both: the refiner has those below the cut-off."""
        if not job.refine:
            return self._base.legs(job)
        base, refiner = self._base.leg(job), self._refiner.leg(job)
        steps = base.scheduler.config.num_train_timesteps
        cutoff = round(steps - self._start * steps)
        base.timesteps = base.timesteps[: int((base.timesteps >= cutoff).sum())]
        refiner.leave_out(_whole_steps(refiner.scheduler, int((refiner.timesteps >= cutoff).sum())))
        return [leg for leg in (base, refiner) if len(leg.timesteps)]

    @contextmanager
    def reading(self, jobs: Sequence[Job]) -> Iterator[None]:
        """Have prompts encoded in one pass by each of both."""
        refined = [job for job in jobs if job.refine]
        with self._base.reading(jobs), self._refiner.reading(refined) if refined else nullcontext():
            yield


def _whole_steps(scheduler: Any, left_out: int) -> int:
    """Return how many timesteps to leave out so that no step is cut in half: a second order takes two for each."""
    remaining = len(scheduler.timesteps) - left_out
    return left_out - 1 if scheduler.order == 2 and remaining % 2 == 0 else left_out
