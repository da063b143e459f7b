"""One picture, from the first attempt up the recovery ladder to a usable picture or none."""

import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from servekit import tracing
from servekit.errors import DeviceOutOfMemory, ModelUnavailable
from servekit.residency import Lease, Residency
from servekit.worker import CancelToken
from services.imagegen.batching import Batcher
from services.imagegen.catalog import Catalog, ModelRow
from services.imagegen.domain import (
    MAX_SEED,
    Adjustment,
    Attempt,
    Cause,
    Job,
    Pixels,
    Priority,
    Remedy,
    SafetyPolicy,
    Stage,
    Verdict,
)
from services.imagegen.events import Event, Loading, Retry, RewrittenPrompt
from services.imagegen.ladder import EXPLANATIONS, next_remedy
from services.imagegen.metrics import ImagegenMetrics
from services.imagegen.plan import Plan, unread
from services.imagegen.ports import FetchAdapter, Rewriter, SafetyCheck
from services.imagegen.turns import Made, OnStep

T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Course:
    """One picture on its way: what is being tried, and what was."""

    index: int
    row: ModelRow
    job: Job
    safety: SafetyPolicy
    seed_stride: int
    """Distance to the next seed that no other picture of the request uses."""
    priority: Priority
    deadline: float | None
    token: CancelToken
    """Cancelled as soon as nobody waits for the picture any more."""
    emit: Callable[[Event], None]
    on_step: OnStep
    on_loaded: Callable[[float], None]
    """Called with the seconds waited for the model, each time it is on the device."""
    refit: Callable[[ModelRow, Job], Plan]
    """Fits a job to another model."""
    adjustments: list[Adjustment] = field(default_factory=list)
    """Values that were changed on the way."""
    attempts: list[Attempt] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    steps: int = 0
    """Steps that the last attempt took."""

    def took(self, stages: Iterable[Stage]) -> None:
        """Add the stages of an attempt."""
        for stage in stages:
            self.stages[stage.name] = self.stages.get(stage.name, 0.0) + stage.seconds
            tracing.record(stage.name, stage.began, stage.ended, model=self.row.id)

    def read(self, tokens: int) -> None:
        """Note that the prompt had so many tokens, in case that is more than the model reads."""
        self.adjustments += unread(self.row, tokens)

    def failed(self, cause: Cause, remedy: Remedy | None) -> None:
        """Note a rejected attempt and what follows, and tell the caller."""
        attempt = Attempt(len(self.attempts) + 1, self.row.id, self.job.seed, cause, remedy)
        self.attempts.append(attempt)
        if remedy is not None:
            message = f"the picture was {_CAUSES[cause]}; {EXPLANATIONS[remedy]}"
            self.emit(Retry(attempt, self.index, message))


_CAUSES: Mapping[Cause, str] = {
    Cause.NON_FINITE: "not made of finite numbers",
    Cause.BLACK: "black",
    Cause.UNSAFE: "flagged by the safety check",
}


_TILED = Adjustment("decode", "whole", "tiled", "there was no memory for the picture in one piece")


@dataclass(frozen=True, slots=True)
class Accepted:
    """A usable picture."""

    pixels: Pixels
    verdict: Verdict | None


class Attempts:
    """Makes single pictures with whatever it takes. `offered` are the models that may take over."""

    def __init__(
        self,
        catalog: Catalog,
        offered: frozenset[str],
        residency: Residency[Batcher],
        *,
        is_black: Callable[[Pixels], bool],
        safety_check: SafetyCheck | None,
        rewriter: Rewriter | None,
        metrics: ImagegenMetrics,
        fetch_adapter: FetchAdapter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog = catalog
        self._offered = offered
        self._fetch_adapter = fetch_adapter
        self._residency = residency
        self._is_black = is_black
        self._safety_check = safety_check
        self._rewriter = rewriter
        self._metrics = metrics
        self._clock = clock

    async def make(self, course: Course) -> Accepted | None:
        """Return a usable picture, or None when the ladder ends; `course.attempts` tells why.

        A lease is held for one model at a time: waiting for a second one while holding the first could wait for ever.
        A fallback that cannot be had, or has no room, ends the ladder: nobody asked for it.
        """
        async with self._holding(course, course.row, course.job) as lease:
            accepted = await self._with_model(course, lease.value)
        if accepted is not None or course.attempts[-1].remedy is not Remedy.FALLBACK_MODEL:
            return accepted
        row = self._catalog.get(course.row.fallback)
        try:
            return await self._fall_back(course, row)
        except (ModelUnavailable, DeviceOutOfMemory) as error:
            logger.warning("%s cannot take over: %s", row.id, error)
            return None

    async def _fall_back(self, course: Course, row: ModelRow) -> Accepted | None:
        """Go on with another model, which the course is handed to once that is on the device."""
        plan = course.refit(row, course.job)
        async with self._holding(course, row, plan.first) as lease:
            self._metrics.fallbacks.labels(course.row.id, row.id).inc()
            course.row, course.job = row, plan.first
            course.adjustments += plan.adjustments
            return await self._with_model(course, lease.value)

    @asynccontextmanager
    async def _holding(self, course: Course, row: ModelRow, job: Job) -> AsyncGenerator[Lease[Batcher], None]:
        """Hold a model for the block, the adapters of a job on this disk. Raises as `Residency.acquire`."""
        for adapter in job.adapters:
            await self._fetch_adapter(adapter.id)
        async with self._residency.acquire(row.weights, on_progress=self._loading(course, row)) as lease:
            course.on_loaded(lease.waited_s)
            yield lease
            if job.adapters:
                self._residency.resized(row.weights, await lease.value.weigh())

    def _loading(self, course: Course, row: ModelRow) -> Callable[[float], None] | None:
        if course.index and not course.attempts:
            return None  # the first picture tells for all
        return lambda fraction: course.emit(Loading(row.id, fraction))

    async def _with_model(self, course: Course, batcher: Batcher) -> Accepted | None:
        """Try on one model until a picture is usable or another model, or nothing, is next."""
        made = await self._make(course, batcher)
        while True:
            cause, verdict = await self._checked(course, made)
            if cause is None:
                return self._accept(course, made, verdict)
            remedy, rewritten = await self._remedy(course, made, cause)
            course.failed(cause, remedy)
            if remedy is not None:
                self._metrics.retries.labels(course.row.id, remedy.value).inc()
            if remedy is None or remedy is Remedy.FALLBACK_MODEL:
                return None
            if remedy is Remedy.DECODE_FP32:
                made = await self._with_room(partial(batcher.decode_fp32, made))
                course.took(made.stages)
                continue
            if rewritten is not None:
                course.emit(rewritten)
                course.job = replace(course.job, prompt=rewritten.prompt)
            else:
                course.job = replace(course.job, seed=(course.job.seed + course.seed_stride) % (MAX_SEED + 1))
            made = await self._make(course, batcher)

    async def _make(self, course: Course, batcher: Batcher) -> Made:
        made = await self._with_room(
            lambda: batcher.make(
                course.job,
                priority=course.priority,
                deadline=course.deadline,
                token=course.token,
                on_step=course.on_step,
            )
        )
        course.took(made.stages)
        course.read(made.state.prompt_tokens)
        course.steps = made.state.total
        self._metrics.steps.labels(course.row.id).inc(made.state.done)
        return made

    async def _with_room(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do `work`; if the device runs out of memory, once more with everything idle evicted."""
        try:
            return await work()
        except DeviceOutOfMemory:
            await self._residency.evict_idle()
            return await work()

    async def _checked(self, course: Course, made: Made) -> tuple[Cause | None, Verdict | None]:
        began = self._clock()
        cause, verdict = await self._judge(course, made)
        ended = self._clock()
        course.took([Stage("check", began, ended, ended - began)])
        self._metrics.verdicts.labels(course.row.id, cause.value if cause else "accepted").inc()
        if verdict is not None:
            self._metrics.unsafe_score.labels(course.row.id).observe(verdict.score)
        return cause, verdict

    async def _judge(self, course: Course, made: Made) -> tuple[Cause | None, Verdict | None]:
        if not made.decoded.finite:
            return Cause.NON_FINITE, None
        if self._is_black(made.decoded.pixels):
            return Cause.BLACK, None
        if self._safety_check is None or course.safety is SafetyPolicy.IGNORE:
            return None, None
        verdict = await self._with_room(partial(self._safety_check, made.decoded.pixels))
        unsafe = verdict.flagged and course.safety is SafetyPolicy.BLOCK
        return (Cause.UNSAFE if unsafe else None), verdict

    async def _remedy(self, course: Course, made: Made, cause: Cause) -> tuple[Remedy | None, RewrittenPrompt | None]:
        possible = {Remedy.NEXT_SEED}
        if made.decoded.can_decode_fp32:
            possible.add(Remedy.DECODE_FP32)
        if self._fallback_can(course):
            possible.add(Remedy.FALLBACK_MODEL)
        if self._rewriter is not None:
            possible.add(Remedy.REWRITE)
        remedy = next_remedy(cause, course.attempts, possible)
        if remedy is not Remedy.REWRITE or self._rewriter is None:
            return remedy, None
        rewritten = await self._rewriter(course.job.prompt)
        if rewritten is not None:
            return remedy, rewritten
        return next_remedy(cause, course.attempts, possible - {Remedy.REWRITE}), None

    def _fallback_can(self, course: Course) -> bool:
        """Tell whether the fallback model is offered and takes the picture to start from, if there is one."""
        if course.row.fallback not in self._offered:
            return False
        row, source = self._catalog.get(course.row.fallback), course.job.source
        if source is None:
            return True
        return row.can("image_to_image") and (source.mask is None or row.can("inpainting"))

    def _accept(self, course: Course, made: Made, verdict: Verdict | None) -> Accepted:
        if course.attempts and (last := course.attempts[-1].remedy) is not None:
            self._metrics.recoveries.labels(course.row.id, last.value).inc()
        if made.decoded.tiled:
            course.adjustments.append(_TILED)
        course.attempts.append(Attempt(len(course.attempts) + 1, course.row.id, course.job.seed, None, None))
        return Accepted(made.decoded.pixels, verdict)
