import asyncio
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

import pytest

from servekit.errors import Cancelled, DeadlineExceeded, DeviceOutOfMemory, Draining
from servekit.testing import ManualClock
from servekit.worker import CancelToken, DeviceWorker
from services.imagegen.batching import Batcher
from services.imagegen.domain import Decoded, Job, Pixels, Priority
from services.imagegen.paces import ENOUGH
from services.imagegen.ports import State
from services.imagegen.step_cache import StepCache
from tests.unit.services.imagegen.fakes import FakeEngine, FakeState, Gate, job


async def test_a_lone_picture_is_made_at_once(worker: DeviceWorker) -> None:
    engine = FakeEngine()

    made = await Batcher(engine, worker).make(job(seed=5))

    assert (engine.batches, int(made.decoded.pixels[0, 0, 0])) == ([[5], [5], [5]], 5)


async def test_pictures_that_arrive_together_share_every_step(worker: DeviceWorker) -> None:
    engine = FakeEngine()
    batcher = Batcher(engine, worker)

    await asyncio.gather(*(batcher.make(job(seed)) for seed in range(3)))

    assert engine.batches == [[0, 1, 2]] * 3


async def test_a_picture_joins_at_the_next_step_and_leaves_when_done(worker: DeviceWorker) -> None:
    gate = Gate(before=2)
    engine = FakeEngine(before_step=gate)
    batcher = Batcher(engine, worker)
    first = asyncio.create_task(batcher.make(job(1, steps=4)))
    await gate.reached.wait()
    second = asyncio.create_task(batcher.make(job(2, steps=4)))
    await asyncio.sleep(0)
    gate.open()
    await asyncio.gather(first, second)

    assert [sorted(batch) for batch in engine.batches] == [[1], [1], [1, 2], [1, 2], [2], [2]]


async def test_pictures_that_cannot_share_take_turns(worker: DeviceWorker) -> None:
    engine = FakeEngine()
    batcher = Batcher(engine, worker)

    await asyncio.gather(batcher.make(job(1, width=8)), batcher.make(job(2, width=16)))

    assert engine.batches == [[1], [2]] * 3


async def test_no_batch_is_wider_than_the_engine_takes(worker: DeviceWorker) -> None:
    engine = FakeEngine(max_batch=2)
    batcher = Batcher(engine, worker)

    await asyncio.gather(*(batcher.make(job(seed)) for seed in range(5)))

    assert max(map(len, engine.batches)) == 2
    assert sorted(engine.finished) == list(range(5))


async def test_of_one_kind_who_came_first_is_done_first(worker: DeviceWorker) -> None:
    engine = FakeEngine(max_batch=1)
    batcher = Batcher(engine, worker)

    await asyncio.gather(*(batcher.make(job(seed)) for seed in range(3)))

    assert engine.batches == [[0]] * 3 + [[1]] * 3 + [[2]] * 3


async def test_a_picture_that_wants_to_be_alone_is(worker: DeviceWorker) -> None:
    engine = FakeEngine()
    batcher = Batcher(engine, worker)

    await asyncio.gather(batcher.make(job(1, alone=True)), batcher.make(job(2)), batcher.make(job(3)))

    assert all(batch == [1] or 1 not in batch for batch in engine.batches)


async def test_the_urgent_goes_first(worker: DeviceWorker) -> None:
    engine = FakeEngine()
    batcher = Batcher(engine, worker)

    await asyncio.gather(
        batcher.make(job(1, width=8), priority=Priority.LOW), batcher.make(job(2, width=16), priority=Priority.HIGH)
    )

    assert engine.finished == [2, 1]


async def test_a_cancelled_picture_leaves_and_the_others_go_on(worker: DeviceWorker) -> None:
    gate = Gate(before=2)
    engine = FakeEngine(before_step=gate)
    batcher = Batcher(engine, worker)
    doomed = asyncio.create_task(batcher.make(job(1)))
    other = asyncio.create_task(batcher.make(job(2)))
    await gate.reached.wait()
    doomed.cancel()
    await asyncio.sleep(0)
    gate.open()
    await asyncio.wait([doomed, other])

    assert doomed.cancelled()
    assert (engine.batches, engine.finished) == ([[1, 2], [1, 2], [2]], [2])


@pytest.mark.parametrize(
    ("seeds", "cancelled", "batches"),
    [([1], [1], [[1]]), ([1, 2], [1, 2], [[1, 2]]), ([1, 2], [1], [[1, 2], [1, 2], [2]])],
)
async def test_a_step_that_nobody_wants_is_left_in_the_middle(
    worker: DeviceWorker, seeds: list[int], cancelled: list[int], batches: list[list[int]]
) -> None:
    gate, engine = Gate(before=2), FakeEngine()

    def before_step(batch: list[FakeState]) -> None:
        gate(batch)
        assert engine.look is not None
        engine.look()

    engine.before_step = before_step
    batcher = Batcher(engine, worker)
    making = {seed: asyncio.create_task(batcher.make(job(seed))) for seed in seeds}
    await gate.reached.wait()
    for seed in cancelled:
        making[seed].cancel()
    await asyncio.sleep(0)
    gate.open()
    await asyncio.wait(making.values())

    assert [seed for seed, task in making.items() if task.cancelled()] == cancelled
    assert engine.batches == batches


async def test_who_leaves_a_shared_step_for_different_reasons_hears_his_own(worker: DeviceWorker) -> None:
    clock, token = ManualClock(), CancelToken()

    def before_step(_: list[FakeState]) -> None:
        assert engine.look is not None
        clock.advance(1.0)
        token.cancel()
        engine.look()

    engine = FakeEngine(before_step=before_step)
    batcher = Batcher(engine, worker, clock=clock.monotonic)
    results = await asyncio.gather(
        batcher.make(job(1), token=token), batcher.make(job(2), deadline=0.5), return_exceptions=True
    )

    assert [type(each) for each in results] == [Cancelled, DeadlineExceeded]
    assert engine.batches == []


async def test_cancelling_returns_only_when_the_device_has_left_the_picture(worker: DeviceWorker) -> None:
    gate = Gate()
    batcher = Batcher(FakeEngine(before_step=gate), worker)
    doomed = asyncio.create_task(batcher.make(job()))
    await gate.reached.wait()
    doomed.cancel()
    done, _ = await asyncio.wait([doomed], timeout=0.05)
    gate.open()
    await asyncio.wait([doomed])

    assert done == set()


async def test_cancelling_twice_does_not_leave_earlier(worker: DeviceWorker) -> None:
    gate = Gate()
    batcher = Batcher(FakeEngine(before_step=gate), worker)
    doomed = asyncio.create_task(batcher.make(job()))
    await gate.reached.wait()
    for _ in range(2):
        doomed.cancel()
        done, _ = await asyncio.wait([doomed], timeout=0.05)
    gate.open()
    await asyncio.wait([doomed])

    assert done == set()


async def test_the_deadline_is_checked_between_steps(worker: DeviceWorker) -> None:
    clock = ManualClock()
    engine = FakeEngine(before_step=lambda _: clock.advance(1.0))
    batcher = Batcher(engine, worker, clock=clock.monotonic)

    with pytest.raises(DeadlineExceeded, match="after 2 of 9 steps"):
        await batcher.make(job(steps=9), deadline=1.5)


async def test_an_engine_s_failure_ends_its_batch_and_nobody_else(worker: DeviceWorker) -> None:
    def fail(batch: list[FakeState]) -> None:
        if batch[0].job.width == 8:
            raise RuntimeError("broken")

    batcher = Batcher(FakeEngine(before_step=fail), worker)
    results = await asyncio.gather(
        batcher.make(job(1, width=8)), batcher.make(job(2, width=16)), return_exceptions=True
    )

    assert (type(results[0]), results[1].decoded.finite) == (RuntimeError, True)  # type: ignore[union-attr]


class Blind(FakeEngine):
    """Fails to draw previews, with `error`."""

    error: Exception = RuntimeError("blind")

    def preview(self, state: State) -> Pixels | None:
        raise self.error


async def test_a_failure_after_a_shared_step_ends_one_picture_alone(worker: DeviceWorker) -> None:
    batcher = Batcher(Blind(), worker)
    results = await asyncio.gather(
        batcher.make(job(1, preview_every=1)), batcher.make(job(2, steps=1)), return_exceptions=True
    )

    assert (type(results[0]), results[1].decoded.finite) == (RuntimeError, True)  # type: ignore[union-attr]


async def test_pictures_that_arrive_or_end_together_are_prepared_and_finished_at_once(worker: DeviceWorker) -> None:
    engine = FakeEngine(max_batch=2)
    batcher = Batcher(engine, worker)

    await asyncio.gather(*(batcher.make(job(seed, alone=seed == 2)) for seed in range(5)))

    assert (engine.prepared, engine.finished_together) == ([[0, 1], [3, 4]], [2, 2])
    assert sorted(engine.finished) == [0, 1, 2, 3, 4]


class Watchful(FakeEngine):
    """Looks up while it prepares several at once, after `meanwhile`."""

    meanwhile: Callable[[], None] = staticmethod(lambda: None)

    def prepare_all(self, jobs: Sequence[Job]) -> list[FakeState]:
        assert self.look is not None
        self.meanwhile()
        self.look()
        return super().prepare_all(jobs)


@pytest.mark.parametrize(("cancelled", "made"), [([1, 2], []), ([1], [2])])
async def test_preparing_several_at_once_is_left_when_none_is_wanted(
    worker: DeviceWorker, caplog: pytest.LogCaptureFixture, cancelled: list[int], made: list[int]
) -> None:
    tokens, engine = {seed: CancelToken() for seed in (1, 2)}, Watchful()

    def give_up() -> None:
        for seed in cancelled:
            tokens[seed].cancel()

    engine.meanwhile = give_up
    batcher = Batcher(engine, worker)
    results = await asyncio.gather(
        *(batcher.make(job(seed), token=token) for seed, token in tokens.items()), return_exceptions=True
    )

    assert [seed for seed, each in zip(tokens, results, strict=True) if isinstance(each, Cancelled)] == cancelled
    assert (engine.finished, caplog.records) == (made, [])
    assert engine.prepared == ([[1, 2]] if made else [])


class Clumsy(FakeEngine):
    """Can do nothing for several at once, and cannot prepare picture 1 nor finish picture 2."""

    def prepare(self, job: Job) -> FakeState:
        if job.seed == 1:
            raise RuntimeError("no such picture")
        return super().prepare(job)

    def finish(self, state: State, *, fp32: bool = False) -> Decoded:
        assert isinstance(state, FakeState)
        if state.job.seed == 2:
            raise RuntimeError("no such picture")
        return super().finish(state)


async def test_what_fails_for_several_at_once_is_done_for_each_by_itself(worker: DeviceWorker) -> None:
    engine = Clumsy()
    batcher = Batcher(engine, worker)
    results = await asyncio.gather(*(batcher.make(job(seed)) for seed in range(4)), return_exceptions=True)

    assert [isinstance(each, RuntimeError) for each in results] == [False, True, True, False]
    assert (engine.prepared, engine.finished_together) == ([[0, 1, 2, 3]], [3])


async def test_a_preview_that_does_not_fit_is_left_out(worker: DeviceWorker) -> None:
    engine = Blind()
    engine.error = DeviceOutOfMemory(wanted_bytes=2, free_bytes=1)
    looks: list[object] = []
    await Batcher(engine, worker).make(
        job(steps=2, preview_every=1), on_step=lambda _done, _total, look: looks.append(look)
    )

    assert looks == [None, None]


async def test_decoding_again_speaks_of_memory_as_a_step_does(worker: DeviceWorker) -> None:
    @contextmanager
    def guard() -> Generator[None, None, None]:
        try:
            yield
        except MemoryError:
            raise DeviceOutOfMemory(wanted_bytes=2, free_bytes=1) from None

    class Small(FakeEngine):
        def finish(self, state: State, *, fp32: bool = False) -> Decoded:
            if fp32:
                raise MemoryError
            return super().finish(state)

    batcher = Batcher(Small(), worker, guard=guard)
    made = await batcher.make(job())

    with pytest.raises(DeviceOutOfMemory):
        await batcher.decode_fp32(made)


async def test_a_batch_that_does_not_fit_is_halved(worker: DeviceWorker) -> None:
    def fail(batch: list[FakeState]) -> None:
        if len(batch) > 1:
            raise DeviceOutOfMemory(wanted_bytes=2, free_bytes=1)

    engine = FakeEngine(before_step=fail)
    batcher = Batcher(engine, worker)
    await asyncio.gather(*(batcher.make(job(seed, steps=2)) for seed in range(4)))

    assert sorted(engine.finished) == [0, 1, 2, 3]
    assert max(map(len, engine.batches)) == 1


async def test_a_picture_that_does_not_fit_alone_fails_as_such(worker: DeviceWorker) -> None:
    def fail(_: list[FakeState]) -> None:
        raise DeviceOutOfMemory(wanted_bytes=2, free_bytes=1)

    with pytest.raises(DeviceOutOfMemory):
        await Batcher(FakeEngine(before_step=fail), worker).make(job())


async def test_every_step_is_reported_with_previews_where_wanted(worker: DeviceWorker) -> None:
    heard: list[tuple[int, bool]] = []

    def on_step(done: int, _: int, look: object) -> None:
        heard.append((done, look is not None))

    await Batcher(FakeEngine(), worker).make(job(steps=5, preview_every=2), on_step=on_step)

    assert heard == [(1, False), (2, True), (3, False), (4, True), (5, False)]


async def test_an_engine_that_takes_many_steps_in_a_call_reports_each_once(worker: DeviceWorker) -> None:
    heard: list[int] = []
    batcher = Batcher(FakeEngine(max_batch=1, steps_per_call=9), worker)

    await batcher.make(job(steps=4), on_step=lambda done, *_: heard.append(done))

    assert heard == [1, 2, 3, 4]


async def test_a_long_call_is_cancelled_between_its_steps(worker: DeviceWorker) -> None:
    heard: list[int] = []
    task: asyncio.Task[object] | None = None
    loop, left = asyncio.get_running_loop(), threading.Event()

    def on_step(done: int, *_: object) -> None:
        heard.append(done)
        if done == 2 and task is not None:
            loop.call_soon_threadsafe(task.cancel)
            loop.call_soon_threadsafe(lambda: loop.call_soon(left.set))
            left.wait(timeout=10)

    batcher = Batcher(FakeEngine(max_batch=1, steps_per_call=9), worker)
    task = asyncio.create_task(batcher.make(job(steps=9), on_step=on_step))
    await asyncio.wait([task])

    assert (task.cancelled(), heard) == (True, [1, 2])


CACHE = StepCache(interval=3, first=2)
"""Of seven steps, 0, 1, 3 and 6 are computed."""


async def test_forecast_steps_take_no_turn_and_every_one_is_reported(worker: DeviceWorker) -> None:
    heard: list[tuple[int, bool]] = []
    turns: list[int] = []
    engine = FakeEngine()
    batcher = Batcher(engine, worker, on_batch=lambda width, _: turns.append(width))

    await batcher.make(
        job(5, steps=7, preview_every=2, cache=CACHE),
        on_step=lambda done, _, look: heard.append((done, look is not None)),
    )

    assert (turns, engine.batches, engine.forecasts) == ([1] * 4, [[5]] * 4, [5] * 3)
    assert heard == [(done, done in (2, 4, 6)) for done in range(1, 8)]


async def test_a_picture_with_forecasts_shares_every_pass_it_takes(worker: DeviceWorker) -> None:
    engine = FakeEngine()
    batcher = Batcher(engine, worker)

    await asyncio.gather(batcher.make(job(1, steps=7, cache=CACHE)), batcher.make(job(2, steps=5)))

    assert engine.batches == [[1, 2]] * 4 + [[2]]
    assert engine.finished == [1, 2]


async def test_a_picture_cancelled_before_a_forecast_stops_there_and_harms_nobody(worker: DeviceWorker) -> None:
    token = CancelToken()
    engine = FakeEngine()
    batcher = Batcher(engine, worker)
    doomed = batcher.make(
        job(1, steps=7, cache=CACHE), token=token, on_step=lambda done, *_: token.cancel() if done == 2 else None
    )

    results = await asyncio.gather(doomed, batcher.make(job(2, steps=4, cache=CACHE)), return_exceptions=True)

    assert isinstance(results[0], Cancelled)
    assert (engine.forecasts, engine.finished) == ([2], [2])


async def test_a_forecast_that_fails_ends_its_picture_alone(worker: DeviceWorker) -> None:
    def fail(batch: list[FakeState]) -> None:
        if batch[0].forecasts and batch[0].job.seed == 1:
            raise RuntimeError("broken")

    batcher = Batcher(FakeEngine(before_step=fail), worker)
    results = await asyncio.gather(*(batcher.make(job(seed, cache=CACHE)) for seed in (1, 2)), return_exceptions=True)

    assert (type(results[0]), results[1].decoded.finite) == (RuntimeError, True)  # type: ignore[union-attr]


async def test_batches_are_measured(worker: DeviceWorker) -> None:
    widths: list[int] = []
    batcher = Batcher(FakeEngine(), worker, on_batch=lambda width, _: widths.append(width))

    await asyncio.gather(*(batcher.make(job(seed, steps=1 + seed)) for seed in range(3)))

    assert widths == [3, 2, 1]


async def test_the_last_step_of_a_kind_counts_for_that_kind(worker: DeviceWorker) -> None:
    clock, dear, cheap = ManualClock(), 8, 16

    def step(batch: list[FakeState]) -> None:
        clock.advance(20.0 if batch[0].job.width == dear else 1.0)
        for state in batch:
            state.batch_key = (cheap, 8)  # as where guidance ends, or the refiner takes over

    engine = FakeEngine(before_step=step)
    batcher = Batcher(engine, worker, clock=clock.monotonic)
    for _ in range(ENOUGH):
        await asyncio.gather(*(batcher.make(job(seed, steps=1, width=dear)) for seed in (1, 2)))
        await batcher.make(job(3, steps=1, width=cheap))
    await asyncio.gather(*(batcher.make(job(seed, steps=1, width=cheap)) for seed in (4, 5)))

    assert engine.batches[-1] == [4, 5]


async def test_a_closed_worker_is_told_to_every_caller() -> None:
    worker = DeviceWorker("closed")
    await worker.start()
    await worker.close()

    with pytest.raises(Draining):
        await Batcher(FakeEngine(), worker).make(job())


async def test_pictures_can_be_made_again_after_an_idle_time(worker: DeviceWorker) -> None:
    engine = FakeEngine()
    batcher = Batcher(engine, worker)
    for seed in range(3):
        await batcher.make(job(seed))

    assert engine.finished == [0, 1, 2]


@pytest.mark.parametrize("steps", [2, 9])
async def test_a_cancelled_token_stops_the_device_before_the_loop_comes_round(worker: DeviceWorker, steps: int) -> None:
    token = CancelToken()
    engine = FakeEngine(before_step=lambda _: token.cancel() if len(engine.batches) == 1 else None)

    with pytest.raises(Cancelled):
        await Batcher(engine, worker).make(job(1, steps=steps), token=token)

    assert (len(engine.batches), engine.finished) == (2, [])


async def test_cancelling_before_the_first_step_makes_no_step(worker: DeviceWorker) -> None:
    engine = FakeEngine()
    batcher = Batcher(engine, worker)
    doomed = asyncio.create_task(batcher.make(job(1)))
    await asyncio.sleep(0)
    doomed.cancel()
    with pytest.raises(asyncio.CancelledError):
        await doomed

    assert engine.finished == []


async def test_what_is_left_of_steps_is_not_counted_for_preparing_or_decoding(worker: DeviceWorker) -> None:
    clock = ManualClock()
    engine = FakeEngine()

    made = await Batcher(engine, worker, clock=clock.monotonic, synchronize=lambda: clock.advance(7.0)).make(job())

    assert {stage.name: stage.seconds for stage in made.stages} == {"encode_text": 0.0, "denoise": 0.0, "decode": 0.0}
