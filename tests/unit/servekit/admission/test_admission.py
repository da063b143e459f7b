import asyncio
from contextlib import suppress

import pytest

from servekit.admission import Admission
from servekit.errors import DeadlineTooShort, Overloaded
from servekit.testing import ManualClock


class Caller:
    """A request that holds its place until released."""

    def __init__(
        self, admission: Admission, key: str = "model", *, priority: int = 0, deadline: float | None = None
    ) -> None:
        self.told: list[tuple[int, float]] = []
        self.queued_s = -1.0
        self.release = asyncio.Event()
        self.inside = asyncio.Event()
        self.task = asyncio.create_task(self._call(admission, key, priority, deadline))

    async def _call(self, admission: Admission, key: str, priority: int, deadline: float | None) -> None:
        async with admission.admit(
            key, priority=priority, deadline=deadline, on_queued=lambda *news: self.told.append(news)
        ) as ticket:
            self.queued_s = ticket.queued_s
            self.inside.set()
            await self.release.wait()

    async def end(self) -> None:
        self.release.set()
        await self.task


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def test_admits_at_once_when_there_is_a_place(clock: ManualClock) -> None:
    caller = Caller(Admission(capacity=1, queue_limit=1, clock=clock))
    await caller.inside.wait()
    assert caller.told == []
    assert caller.queued_s == 0.0
    await caller.end()


async def test_tells_every_change_of_position(clock: ManualClock) -> None:
    admission = Admission(capacity=1, queue_limit=9, clock=clock)
    first, second, third = (Caller(admission) for _ in range(3))
    await settle()
    await first.end()
    await second.inside.wait()
    await settle()
    assert [position for position, _ in third.told] == [1, 0]
    await second.end()
    await third.end()


async def test_tells_the_measured_eta_and_the_time_queued(clock: ManualClock) -> None:
    admission = Admission(capacity=1, queue_limit=9, clock=clock)
    warm = Caller(admission)
    await warm.inside.wait()
    clock.advance(4.0)
    await warm.end()
    running, waiting = Caller(admission), Caller(admission)
    await settle()
    assert waiting.told == [(0, 4.0)]
    clock.advance(3.0)
    await running.end()
    await waiting.inside.wait()
    assert waiting.queued_s == 3.0
    await waiting.end()


async def test_refuses_when_the_queue_is_full(clock: ManualClock) -> None:
    admission = Admission(capacity=1, queue_limit=1, clock=clock)
    callers = [Caller(admission) for _ in range(2)]
    await settle()
    with pytest.raises(Overloaded) as refused:
        async with admission.admit("model"):
            pass
    assert refused.value.retry_after_s is not None
    assert refused.value.retry_after_s > 0
    for caller in callers:
        await caller.end()


async def slow_admission(clock: ManualClock, seconds: float) -> Admission:
    """Return an admission that has measured one request of this length."""
    admission = Admission(capacity=1, queue_limit=9, clock=clock)
    async with admission.admit("model"):
        clock.advance(seconds)
    return admission


async def test_refuses_at_once_what_cannot_be_done_in_time(clock: ManualClock) -> None:
    admission = await slow_admission(clock, 5.0)
    with pytest.raises(DeadlineTooShort) as refused:
        async with admission.admit("model", deadline=clock.monotonic() + 4.0):
            raise AssertionError("work has begun")
    assert (refused.value.estimate_s, refused.value.remaining_s) == (5.0, 4.0)
    assert admission.running == 0


async def test_whoever_is_refused_by_an_estimate_that_was_wrong_gets_in_before_long(clock: ManualClock) -> None:
    admission = await slow_admission(clock, 5.0)
    refusals = 0
    while refusals < 9:
        try:
            async with admission.admit("model", deadline=clock.monotonic() + 4.0):
                clock.advance(1.0)
            break
        except DeadlineTooShort:
            refusals += 1
    assert refusals == 3
    assert admission.service_s("model", 1.0) == pytest.approx(5.0 * 0.9**3 * 0.8 + 0.2)


async def test_the_estimate_has_the_queue_and_the_setup_in_it(clock: ManualClock) -> None:
    admission = await slow_admission(clock, 5.0)
    running = Caller(admission)
    await running.inside.wait()
    with pytest.raises(DeadlineTooShort) as refused:
        async with admission.admit("model", setup_s=2.0, deadline=clock.monotonic() + 11.0):
            raise AssertionError("work has begun")
    assert refused.value.estimate_s == 12.0
    await running.end()


async def test_refuses_while_waiting_as_soon_as_it_is_clear(clock: ManualClock) -> None:
    admission = await slow_admission(clock, 5.0)
    running = Caller(admission)
    await running.inside.wait()
    waiting = Caller(admission, deadline=clock.monotonic() + 11.0)
    await settle()
    clock.advance(8.0)
    await running.end()
    with pytest.raises(DeadlineTooShort):
        await waiting.task
    assert (admission.running, admission.queued) == (0, 0)


async def test_without_a_measurement_nothing_is_refused(clock: ManualClock) -> None:
    admission = Admission(capacity=1, queue_limit=1, clock=clock)
    async with admission.admit("model", deadline=clock.monotonic() + 0.001):
        assert admission.running == 1


async def test_a_cancelled_waiter_leaves_no_trace(clock: ManualClock) -> None:
    admission = Admission(capacity=1, queue_limit=9, clock=clock)
    running, leaving, staying = (Caller(admission) for _ in range(3))
    await settle()
    leaving.task.cancel()
    with suppress(asyncio.CancelledError):
        await leaving.task
    await settle()
    assert staying.told[-1][0] == 0
    await running.end()
    await staying.inside.wait()
    await staying.end()
    assert (admission.running, admission.queued) == (0, 0)


async def test_cancelling_in_the_moment_of_admission_gives_the_place_on(clock: ManualClock) -> None:
    admission = Admission(capacity=1, queue_limit=9, clock=clock)
    running, leaving, staying = (Caller(admission) for _ in range(3))
    await settle()
    running.release.set()
    await running.task
    leaving.task.cancel()
    await staying.inside.wait()
    assert leaving.task.cancelled()
    await staying.end()


async def test_a_callback_that_raises_harms_only_its_own_request(clock: ManualClock) -> None:
    admission = Admission(capacity=1, queue_limit=9, clock=clock)
    running = Caller(admission)
    await running.inside.wait()
    with pytest.raises(ZeroDivisionError):
        async with admission.admit("model", on_queued=lambda position, _: print(1 / position)):
            pass
    await running.end()
    assert admission.queued == 0


async def test_a_failure_inside_gives_the_place_back(clock: ManualClock) -> None:
    admission = Admission(capacity=1, queue_limit=0, clock=clock)
    with pytest.raises(KeyError):
        async with admission.admit("model"):
            raise KeyError
    async with admission.admit("model"):
        assert admission.running == 1


async def test_begin_keeps_setup_out_of_the_pace(clock: ManualClock) -> None:
    admission = Admission(capacity=1, queue_limit=9, clock=clock)
    async with admission.admit("model") as ticket:
        clock.advance(60.0)
        ticket.begin()
        clock.advance(2.0)
    running = Caller(admission)
    await running.inside.wait()
    assert admission.eta_s() == 2.0
    await running.end()
