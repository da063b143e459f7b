"""An engine without weights, for tests of what drives engines."""

import asyncio
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from services.imagegen.domain import Decoded, Job, Pixels, Priority
from services.imagegen.ports import Pulse, State
from services.imagegen.step_cache import StepCache
from services.imagegen.turns import Entry, Made


@dataclass(eq=False)
class FakeState:
    job: Job
    batch_key: Hashable
    total: int
    done: int = 0
    prompt_tokens: int = 1
    rows: int = 1

    @property
    def forecasts(self) -> bool:
        cache = self.job.cache
        return cache is not None and not cache.computes(self.done, self.total)


@dataclass
class FakeEngine:
    """Counts steps. `before_step(batch)` is called before each and may raise."""

    max_batch: int = 4
    steps_per_call: int = 1
    before_step: Callable[[list[FakeState]], None] = lambda _: None
    batches: list[list[int]] = field(default_factory=list)
    """Seeds of the pictures of each forward pass."""
    forecasts: list[int] = field(default_factory=list)
    """Seeds of the pictures of each step that took no forward pass."""
    finished: list[int] = field(default_factory=list)
    prepared: list[list[int]] = field(default_factory=list)
    """Seeds of the pictures that were prepared at once."""
    finished_together: list[int] = field(default_factory=list)
    """How many pictures were finished at once."""
    resident_bytes: int = 1
    modules: Sequence[object] = ()
    look: Callable[[], None] | None = None
    """What to call now and then while working."""

    def prepare(self, job: Job) -> FakeState:
        return FakeState(job, (job.width, job.height) if not job.alone else (job.seed, "alone"), job.steps)

    def prepare_all(self, jobs: Sequence[Job]) -> list[FakeState]:
        self.prepared.append([each.seed for each in jobs])
        return [self.prepare(each) for each in jobs]

    def step(self, states: Sequence[State], pulse: Pulse) -> None:
        batch = [each for each in states if isinstance(each, FakeState)]
        self.before_step(batch)
        if batch[0].forecasts:
            self.forecasts.append(batch[0].job.seed)
        else:
            self.batches.append([each.job.seed for each in batch])
        for state in batch:
            for _ in range(min(self.steps_per_call, state.total - state.done)):
                state.done += 1
                if self.steps_per_call > 1:
                    pulse(state)

    def finish(self, state: State, *, fp32: bool = False) -> Decoded:
        assert isinstance(state, FakeState)
        self.finished.append(state.job.seed)
        return Decoded(np.full((2, 2, 3), state.job.seed % 256, np.uint8), True, not fp32)

    def finish_all(self, states: Sequence[State]) -> list[Decoded]:
        self.finished_together.append(len(states))
        return [self.finish(each) for each in states]

    def preview(self, state: State) -> Pixels | None:
        return np.zeros((2, 2, 3), np.uint8)

    @contextmanager
    def watching(self, look: Callable[[], None]) -> Iterator[None]:
        self.look = look
        yield
        self.look = None


class Gate:
    """Holds the device thread before a step until the test lets it go on."""

    def __init__(self, before: int = 1) -> None:
        self.reached = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._go = threading.Event()
        self._before = before

    def __call__(self, _batch: list[FakeState]) -> None:
        self._before -= 1
        if self._before == 0:
            self._loop.call_soon_threadsafe(self.reached.set)
            self._go.wait(timeout=10)

    def open(self) -> None:
        self._go.set()


def job(
    seed: int = 0,
    *,
    steps: int = 3,
    width: int = 8,
    alone: bool = False,
    preview_every: int = 0,
    cache: StepCache | None = None,
) -> Job:
    """Return a job for the fake engine."""
    return Job("x", "", width, 8, steps, 1.0, seed, alone=alone, preview_every=preview_every, cache=cache)


def in_loop(made: Job, priority: Priority = Priority.NORMAL, arrival: int = 0) -> Entry:
    """Return a picture in the loop of a batcher that nobody waits for."""
    loop = asyncio.new_event_loop()
    future: asyncio.Future[Made] = loop.create_future()
    loop.close()
    return Entry(made, priority, None, lambda *_: None, arrival, future)
