"""Who waits in a batcher for whom to be prepared or decoded with, on an engine whose passes cost a known time."""

import asyncio
from collections.abc import Sequence

from servekit.testing import ManualClock
from servekit.worker import DeviceWorker
from services.imagegen.batching import Batcher
from services.imagegen.domain import Decoded, Job
from services.imagegen.paces import ENOUGH
from services.imagegen.ports import Pulse, State
from tests.unit.services.imagegen.fakes import FakeEngine, FakeState, Gate, job


class Costly(FakeEngine):
    """Takes five seconds of a clock to prepare or decode, one more for each picture, and one for a step."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(max_batch=8)
        self.clock = clock

    def prepare(self, job: Job) -> FakeState:
        return self.prepare_all([job])[0]

    def prepare_all(self, jobs: Sequence[Job]) -> list[FakeState]:
        self.clock.advance(5.0 + len(jobs))
        self.prepared.append([each.seed for each in jobs])
        return [FakeEngine.prepare(self, each) for each in jobs]

    def step(self, states: Sequence[State], pulse: Pulse) -> None:
        self.clock.advance(1.0)
        super().step(states, pulse)

    def finish(self, state: State, *, fp32: bool = False) -> Decoded:
        return self.finish_all([state])[0]

    def finish_all(self, states: Sequence[State]) -> list[Decoded]:
        self.clock.advance(5.0 + len(states))
        self.finished_together.append(len(states))
        return [FakeEngine.finish(self, each) for each in states]


async def learned(engine: Costly, worker: DeviceWorker) -> Batcher:
    """Return a batcher that knows what its engine takes."""
    batcher = Batcher(engine, worker, clock=engine.clock.monotonic)
    for width in range(1, 9):
        for turn in range(ENOUGH):
            await asyncio.gather(*(batcher.make(job(1000 + 10 * turn + each)) for each in range(width)))
    for seen in (engine.batches, engine.finished, engine.prepared, engine.finished_together):
        seen.clear()
    return batcher


async def test_who_is_drawn_waits_for_those_who_are_soon(worker: DeviceWorker) -> None:
    engine = Costly(ManualClock())
    batcher = await learned(engine, worker)

    await asyncio.gather(*(batcher.make(job(seed, steps=4 if seed else 3)) for seed in range(8)))

    assert engine.finished_together == [8]


async def test_who_is_drawn_waits_for_nobody_who_takes_too_long(worker: DeviceWorker) -> None:
    engine = Costly(ManualClock())
    batcher = await learned(engine, worker)

    await asyncio.gather(*(batcher.make(job(seed, steps=100 if seed else 3)) for seed in range(8)))

    assert engine.finished_together == [1, 7]


async def test_newcomers_wait_for_each_other_while_many_are_at_work(worker: DeviceWorker) -> None:
    engine = Costly(ManualClock())
    batcher = await learned(engine, worker)
    gates = [Gate(before=2), Gate(before=3)]

    def pass_both(batch: list[FakeState]) -> None:
        for gate in gates:
            gate(batch)

    engine.before_step = pass_both
    at_work = [asyncio.create_task(batcher.make(job(seed, steps=20))) for seed in range(6)]
    late = []
    for seed, gate in zip((6, 7), gates, strict=True):
        await gate.reached.wait()
        late.append(asyncio.create_task(batcher.make(job(seed, steps=20))))
        await asyncio.sleep(0)
        gate.open()
    await asyncio.gather(*at_work, *late)

    assert engine.prepared == [[0, 1, 2, 3, 4, 5], [6, 7]]


async def test_who_waits_to_be_decoded_is_decoded_when_all_others_have_left(worker: DeviceWorker) -> None:
    engine = Costly(ManualClock())
    batcher = await learned(engine, worker)
    gate = engine.before_step = Gate(before=4)
    others = [asyncio.create_task(batcher.make(job(seed, steps=9))) for seed in range(7)]
    drawn = asyncio.create_task(batcher.make(job(7, steps=3)))
    await gate.reached.wait()
    assert engine.finished == []
    for other in others:
        other.cancel()
    await asyncio.sleep(0)
    gate.open()

    assert int((await drawn).decoded.pixels[0, 0, 0]) == 7
