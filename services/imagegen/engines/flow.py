"""Flow matching: what FLUX, Stable Diffusion 3 and HiDream do alike."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch

from services.imagegen.catalog import ModelRow
from services.imagegen.domain import Job
from services.imagegen.engines.denoising import Leg, Sample
from services.imagegen.engines.prompt_cache import Embeddings
from services.imagegen.engines.schedulers import Schedulers
from services.imagegen.engines.texts import Texts
from services.imagegen.engines.vae import Vae


class FlowFamily(ABC):
    """A `stepwise.Family` of one leg; called, its transformer.

    `patch` is the side, in latents, of what the transformer reads as one token.
    """

    def __init__(self, row: ModelRow, pipeline: Any, *, patch: int) -> None:
        self.vae = Vae(pipeline)
        self.side = patch * self.vae.factor
        self._row = row
        self._pipeline = pipeline
        self._schedulers = Schedulers(pipeline.scheduler)
        self._texts = Texts(self._encode)

    def legs(self, job: Job) -> Sequence[Leg]:
        """Encode the prompt and plan the steps; a source picture leaves out the first ones, by its strength."""
        text, negative = self._texts.of(job, guided=self._row.cfg == "true" and job.guidance > 1)
        scheduler = self._scheduler(job)
        skipped = 0 if job.source is None else min(int(job.steps - job.steps * job.source.strength), job.steps - 1)
        leg = Leg(self, scheduler, scheduler.timesteps, text, negative)
        leg.leave_out(skipped * scheduler.order)
        return [leg]

    def reading(self, jobs: Sequence[Job]) -> AbstractContextManager[None]:
        """Have prompts encoded in one pass."""
        return self._texts.together(jobs)

    @abstractmethod
    def __call__(self, samples: Sequence[Sample]) -> torch.Tensor:
        """Return the velocities, shape (samples, channels, height, width)."""

    @abstractmethod
    def _encode(self, prompts: Sequence[str]) -> list[Embeddings]:
        """Return the embeddings of each prompt."""

    @abstractmethod
    def _scheduler(self, job: Job) -> Any:
        """Return a scheduler of the job's own with its timesteps set."""
