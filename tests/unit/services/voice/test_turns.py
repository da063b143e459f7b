"""A call has a place and its engine only while it speaks, and whoever has begun goes on before others begin."""

import asyncio

import pytest

from servekit.errors import Overloaded
from servekit.testing import ManualClock
from services.voice.stopwatch import Stopwatch
from services.voice.turns import Turns
from tests.unit.services.voice.speaking import Studio


async def settled() -> None:
    """Let everybody go on who can."""
    for _ in range(20):
        await asyncio.sleep(0)


class Caller:
    """A call that has turns, each until it is told to end, and a log that several share."""

    def __init__(self, name: str, turns: Turns, log: list[str]) -> None:
        self._name = name
        self._turns = turns
        self._log = log
        self._done = asyncio.Event()

    def begin(self) -> asyncio.Task[None]:
        self._done.clear()
        return asyncio.create_task(self._turn())

    async def speak(self) -> None:
        task = self.begin()
        self._done.set()
        await task

    def end(self) -> None:
        self._done.set()

    async def _turn(self) -> None:
        async with self._turns.take(0):
            self._log.append(self._name)
            await self._done.wait()


@pytest.fixture
def watch() -> Stopwatch:
    return Stopwatch(ManualClock())


async def test_between_turns_a_call_has_neither_place_nor_engine(watch: Stopwatch) -> None:
    studio = Studio()
    turns = studio.turns(watch)
    async with turns.take(0):
        assert studio.admission.running == 1
    assert studio.admission.running == 0
    await studio.residency.unload("robot")
    async with turns.take(0) as turn:
        turn.finished = True
    assert studio.shelf.loaded == ["robot", "robot"]


async def test_who_has_begun_goes_on_before_others_begin(watch: Stopwatch) -> None:
    studio, log = Studio(), list[str]()
    begun, busy, new = [Caller(name, studio.turns(watch), log) for name in ("begun", "busy", "new")]
    await begun.speak()
    tasks = [busy.begin()]
    await settled()
    tasks += [new.begin(), begun.begin()]
    await settled()
    assert studio.calls.contended
    for caller in (busy, begun, new):
        caller.end()
    await asyncio.gather(*tasks)
    assert log == ["begun", "busy", "begun", "new"]
    assert not studio.calls.contended


async def test_only_who_has_not_begun_is_told_that_he_waits(watch: Stopwatch) -> None:
    studio, told = Studio(), list[int]()
    waiting = studio.turns(watch, on_queued=lambda position, eta_s: told.append(position))
    for expected in ([0], [0]):
        busy = Caller("busy", studio.turns(watch), [])
        tasks = [busy.begin()]
        await settled()
        caller = Caller("waiting", waiting, [])
        tasks.append(caller.begin())
        await settled()
        assert told == expected
        busy.end()
        caller.end()
        await asyncio.gather(*tasks)


async def test_every_wait_for_a_place_is_noted_and_no_other_turn_but_the_first() -> None:
    clock = ManualClock()
    studio, noted = Studio(), list[float]()
    studio.admission._clock = clock
    watch = Stopwatch(clock)
    turns = studio.turns(watch, on_taken=lambda queued_s, load_s: noted.append(queued_s))
    caller = Caller("one", turns, [])
    await caller.speak()
    await caller.speak()
    busy = Caller("busy", studio.turns(watch), [])
    tasks = [busy.begin()]
    await settled()
    tasks.append(caller.begin())
    await settled()
    clock.advance(3)
    busy.end()
    caller.end()
    await asyncio.gather(*tasks)
    assert noted == [0, 3]
    assert (turns.queued_s, watch.work_s) == (3, 0)


async def test_only_what_was_finished_is_a_measurement_of_pace() -> None:
    clock = ManualClock()
    studio = Studio()
    studio.admission._clock = clock
    turns = studio.turns(Stopwatch(clock), characters=100)
    async with turns.take(0):
        clock.advance(50)
    pace = studio.admission._queue.pace
    assert pace.of("robot") is None
    async with turns.take(80) as turn:
        clock.advance(10)
        turn.finished = True
    assert pace.of("robot") == pytest.approx(10 / 20)


async def test_open_calls_are_bounded_whatever_they_wait_for() -> None:
    studio = Studio(capacity=1, queue_limit=1)
    with studio.calls.opened(), studio.calls.opened():
        with pytest.raises(Overloaded, match="2 calls are open") as caught, studio.calls.opened():
            pass
        assert caught.value.retry_after_s is not None
        assert caught.value.retry_after_s > 0
    with studio.calls.opened():
        pass


async def test_a_wait_that_is_cancelled_leaves_nothing(watch: Stopwatch) -> None:
    studio, log = Studio(), list[str]()
    begun, busy = [Caller(name, studio.turns(watch), log) for name in ("begun", "busy")]
    await begun.speak()
    speaking = busy.begin()
    await settled()
    waiting = begun.begin()
    await settled()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert not studio.calls.contended
    assert studio.admission.queued == 0
    busy.end()
    await speaking
    assert studio.admission.running == 0
