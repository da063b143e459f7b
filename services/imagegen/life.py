"""The life of imagegen: what happens before the first call and after the last."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from servekit.device import DevicePlan
from servekit.errors import ServingError
from servekit.residency import Residency
from servekit.worker import DeviceWorker
from services.imagegen.backends.rewriter import GrpcRewriter
from services.imagegen.batching import Batcher
from services.imagegen.catalog import ModelRow
from services.imagegen.checks.nsfw import NsfwCheck
from services.imagegen.domain import Choice, Job

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Life:
    """Hooks of the app: `hidden` and `choices` give, by model, what the log says of it at the start."""

    worker: DeviceWorker
    residency: Residency[Batcher]
    safety: NsfwCheck | None
    rewriter: GrpcRewriter | None
    warm: tuple[ModelRow, ...]
    plan: DevicePlan
    hidden: dict[str, str]
    choices: Mapping[str, Sequence[Choice]]

    async def start(self) -> None:
        """Start the device thread and make the warm models ready."""
        logger.info("device %s", self.plan.describe())
        for model, reason in self.hidden.items():
            logger.info("model %s is not offered: %s", model, reason)
        for model in self.choices.keys() - self.hidden.keys():
            told = "; ".join(f"{each.name} {each.value} ({each.reason})" for each in self.choices[model])
            logger.info("model %s on this device: %s", model, told)
        await self.worker.start()
        await self.residency.start()
        if self.safety is not None:
            await self.safety.load()
        for row in self.warm:
            await self._warm_up(row)

    async def stop(self) -> None:
        """Free the device and close what is open."""
        await self.residency.close()
        await self.worker.close()
        if self.rewriter is not None:
            await self.rewriter.close()

    async def _warm_up(self, row: ModelRow) -> None:
        """Load a model and let it run once, so that the first caller does not pay for it."""
        width, height = row.size.default
        job = Job(row.display_name, "", width, height, steps=1, guidance=row.guidance.default, seed=0)
        try:
            async with self.residency.acquire(row.weights) as lease:
                await lease.value.make(job)
        except ServingError as error:
            logger.warning("model %s is not warm: %s", row.id, error)
