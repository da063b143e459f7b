"""The use case: from a request to pictures, with everything that happens on the way told as events."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from servekit import tracing
from servekit.admission import Admission
from servekit.errors import ModelUnavailable, PreconditionFailed
from servekit.events import EventStream
from servekit.residency import ModelState, Residency
from services.imagegen.attempts import Accepted, Attempts, Course
from services.imagegen.batching import Batcher
from services.imagegen.catalog import Catalog, ModelRow
from services.imagegen.domain import Adjustment, Attempt, Choice, GenerationRequest, Pixels
from services.imagegen.events import Blocked, Event, Picture, PlanReady, Preview, Queued, Summary
from services.imagegen.media import encode, encode_preview, record
from services.imagegen.metrics import ImagegenMetrics
from services.imagegen.plan import Limits, Plan, refit, resolve, unread
from services.imagegen.ports import CountTokens
from services.imagegen.progress import Steps


@dataclass(slots=True)
class _Run:
    """One request while it is being worked on."""

    plan: Plan
    deadline: float | None
    events: EventStream[Event]
    began: float
    stages: dict[str, float] = field(default_factory=dict)
    steps: Steps = field(init=False)

    def __post_init__(self) -> None:
        self.steps = Steps(self.plan.request.count, self.plan.first.taken, self.began)

    def took(self, stage: str, seconds: float) -> None:
        """Note a stage's seconds: of the pictures made side by side, the longest counts."""
        self.stages[stage] = max(self.stages.get(stage, 0.0), seconds)


class Generate:
    """Makes pictures.

    `offered` are the models that may be used; `versions`, of this and of the libraries, go into the files' records.
    All requests together are told of `progress_per_s` steps a second at most.
    """

    def __init__(
        self,
        catalog: Catalog,
        offered: frozenset[str],
        limits: Limits,
        admission: Admission,
        residency: Residency[Batcher],
        attempts: Attempts,
        metrics: ImagegenMetrics,
        *,
        random_seed: Callable[[], int],
        count_tokens: CountTokens,
        versions: Mapping[str, str],
        choices: Mapping[str, Sequence[Choice]],
        progress_per_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog = catalog
        self._offered = offered
        self._limits = limits
        self._admission = admission
        self._residency = residency
        self._attempts = attempts
        self._metrics = metrics
        self._random_seed = random_seed
        self._count_tokens = count_tokens
        self._versions = versions
        self._choices = choices
        self._progress_per_s = progress_per_s
        self._clock = clock

    async def __call__(
        self, request: GenerationRequest, events: EventStream[Event], deadline: float | None = None
    ) -> None:
        """Make the pictures of a request and put what happens into `events`, a `Summary` last.

        `deadline` is in seconds of the clock. Raises `UnknownModel`, `ModelUnavailable`, `InvalidRequest`,
        `PermissionDenied`, `Overloaded`, `DeadlineTooShort`, `DeadlineExceeded`, `DeviceOutOfMemory`, and whatever an
        engine raises. A picture that may not be shown is an event.
        """
        began = self._clock()
        plan = resolve(request, self._row(request.model), self._catalog, self._limits, self._random_seed)
        run = _Run(plan, deadline, events, began)
        if request.dry_run:
            await self._plan_only(run)
            return
        async with self._admission.admit(
            plan.row.weights,
            priority=plan.priority,
            work=plan.work,
            parts=plan.request.count,
            setup_s=self._residency.load_seconds(plan.row.weights),
            deadline=deadline,
            on_queued=lambda position, eta_s: events.put(Queued(position, eta_s)),
        ) as ticket:
            self._metrics.queue_wait_seconds.labels(plan.row.weights).observe(ticket.queued_s, tracing.exemplar())
            self._took(run, plan.row.id, "queue", ticket.queued_s)
            courses = await self._pictures(run, ticket.begin)
        events.put(self._summary(run, courses))

    def _row(self, model: str) -> ModelRow:
        if not model:
            row = self._catalog.default(self._offered)
            if row is None:
                raise ModelUnavailable("this server offers no model: no weights were found; see its log")
            return row
        row = self._catalog.get(model)
        if row.id not in self._offered:
            raise ModelUnavailable(
                f"{row.id} is not offered here: its weights ({row.place}) are not on this server's disk, or the"
                " setting `models` leaves it out; add it to `models` to have it loaded or downloaded"
            )
        return row

    async def _pictures(self, run: _Run, begin: Callable[[], None]) -> list[Course]:
        """Make all pictures side by side; they share forward passes where the engine can."""
        courses = [self._course(run, index, begin) for index in range(run.plan.request.count)]
        if len(courses) == 1:
            await self._picture(run, courses[0])
            return courses
        try:
            async with asyncio.TaskGroup() as group:
                for course in courses:
                    group.create_task(self._picture(run, course))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return courses

    def _course(self, run: _Run, index: int, begin: Callable[[], None]) -> Course:
        request = run.plan.request

        def on_loaded(seconds: float) -> None:
            self._took(run, run.plan.row.id, "load", seconds)
            begin()

        return Course(
            index=index,
            row=run.plan.row,
            job=run.plan.job(index),
            safety=run.plan.safety,
            seed_stride=request.count,
            priority=run.plan.priority,
            deadline=run.deadline,
            token=run.events.token,
            emit=run.events.put,
            on_step=lambda *step: self._stepped(run, index, *step),
            on_loaded=on_loaded,
            refit=lambda row, job: refit(request, job, row, self._catalog, self._limits, self._random_seed),
        )

    async def _picture(self, run: _Run, course: Course) -> None:
        """Bring one picture to its end and tell of it."""
        accepted = await self._attempts.make(course)
        for stage, seconds in course.stages.items():
            run.took(stage, seconds)
            self._metrics.took(course.row.id, stage, seconds)
        if accepted is None:
            cause = course.attempts[-1].cause
            if cause is None:
                raise PreconditionFailed("a rejected picture has no cause")
            run.events.put(Blocked(course.index, cause, tuple(course.attempts)))
            self._metrics.images.labels(course.row.id, "blocked").inc()
            return
        run.events.put(await self._file(run, course, accepted))
        self._metrics.images.labels(course.row.id, "sent").inc()

    async def _file(self, run: _Run, course: Course, accepted: Accepted) -> Picture:
        request, job = run.plan.request, course.job
        began = self._clock()
        adjustments = [*run.plan.adjustments, *course.adjustments]
        facts = record(job, course.row.id, course.row.place, self._versions, adjustments)
        data = await encode(accepted.pixels, request.format, request.quality, facts)
        self._took(run, course.row.id, "encode_media", self._clock() - began)
        height, width, _ = accepted.pixels.shape
        return Picture(course.index, request.format, data, job.seed, width, height, accepted.verdict)

    def _took(self, run: _Run, model: str, stage: str, seconds: float) -> None:
        """Note a stage that ends now."""
        now = self._clock()
        run.took(stage, seconds)
        self._metrics.took(model, stage, seconds)
        tracing.record(stage, now - seconds, now, model=model)

    def _stepped(self, run: _Run, index: int, done: int, total: int, preview: Pixels | None) -> None:
        """Tell of a step. Called on the device thread."""
        pause_s = self._admission.running / self._progress_per_s
        progress = run.steps.took(index, done, total, self._clock(), pause_s)
        if progress is not None:
            run.events.put(progress, droppable=True)
        if preview is not None:
            run.events.put(Preview(index, done, encode_preview(preview)), droppable=True)

    async def _plan_only(self, run: _Run) -> None:
        run.plan = replace(run.plan, adjustments=(*run.plan.adjustments, *await self._unread(run.plan)))
        run.events.put(self._planned(run.plan))
        run.events.put(self._summary(run, []))

    async def _unread(self, plan: Plan) -> list[Adjustment]:
        """Return what to report of the prompts: what the model would not read."""
        row, job = plan.row, plan.first
        found = unread(row, await self._count_tokens(row.id, job.prompt))
        if job.negative_prompt:
            found += unread(row, await self._count_tokens(row.id, job.negative_prompt), "negative_prompt")
        return found

    def _planned(self, plan: Plan) -> PlanReady:
        status = self._residency.model_status(plan.row.weights)
        waits_s = self._admission.eta_s() + self._residency.load_seconds(plan.row.weights)
        service_s = self._admission.service_s(plan.row.weights, plan.work, plan.request.count)
        return PlanReady(
            model=plan.row.id,
            width=plan.first.width,
            height=plan.first.height,
            steps=plan.first.taken,
            guidance=plan.first.guidance,
            scheduler=plan.first.scheduler,
            count=plan.request.count,
            eta_s=0.0 if service_s is None else waits_s + service_s,
            resident=status.state is ModelState.READY,
            adjustments=plan.adjustments,
            choices=(*self._choices[plan.row.id], *plan.choices),
        )

    def _summary(self, run: _Run, courses: list[Course]) -> Summary:
        attempts: list[Attempt] = [attempt for course in courses for attempt in course.attempts]
        sent = [course for course in courses if course.attempts[-1].cause is None]
        row, steps = (courses[-1].row, courses[-1].steps) if courses else (run.plan.row, run.plan.first.taken)
        on_the_way = [adjustment for course in courses for adjustment in course.adjustments]
        return Summary(
            model=row.id,
            seeds=[course.job.seed for course in sent],
            adjustments=tuple(dict.fromkeys([*run.plan.adjustments, *on_the_way])),
            attempts=attempts,
            stages=list(run.stages.items()),
            total_s=self._clock() - run.began,
            images=len(sent),
            blocked=len(courses) - len(sent),
            untrained=row.untrained,
            steps=steps,
        )
