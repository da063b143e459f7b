import asyncio
import contextvars
import gc
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Generator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servekit.errors import Cancelled, Draining
from servekit.worker import CancelToken, DeviceWorker


@pytest.fixture
async def worker() -> AsyncIterator[DeviceWorker]:
    worker = DeviceWorker("device")
    await worker.start()
    yield worker
    await worker.close(drain=False)


class Block:
    """Holds the device thread until told to let go."""

    def __init__(self, worker: DeviceWorker) -> None:
        self.held = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.let_go = threading.Event()
        self.task = asyncio.create_task(worker.run(self._hold, priority=100))

    def _hold(self, _: CancelToken) -> None:
        self.loop.call_soon_threadsafe(self.held.set)
        assert self.let_go.wait(10)

    async def until_held(self) -> "Block":
        await self.held.wait()
        return self


class Gadget:
    """Something a weak reference can watch."""


async def test_returns_the_result(worker: DeviceWorker) -> None:
    assert await worker.run(lambda _: 6 * 7) == 42


async def test_raises_what_the_job_raises(worker: DeviceWorker) -> None:
    with pytest.raises(ZeroDivisionError):
        await worker.run(lambda _: 1 / 0)


async def test_an_exception_does_not_end_the_thread(worker: DeviceWorker) -> None:
    with pytest.raises(SystemExit):
        await worker.run(lambda _: sys.exit(3))
    assert await worker.run(lambda _: 1) == 1


async def test_a_job_may_raise_stop_iteration(worker: DeviceWorker) -> None:
    with pytest.raises(RuntimeError):
        await worker.run(lambda _: next(iter([])))


async def test_all_work_is_on_one_thread() -> None:
    threads = []
    worker = DeviceWorker("device", on_start=lambda: threads.append(threading.get_ident()))
    await worker.start()

    def steps(_: CancelToken) -> Generator[None, None, None]:
        try:
            for _step in range(3):
                threads.append(threading.get_ident())
                yield
        finally:
            threads.append(threading.get_ident())

    await asyncio.gather(*(worker.submit(steps) for _ in range(3)), worker.run(lambda _: steps))
    await worker.close()
    assert set(threads) == {threads[0]}
    assert threads[0] != threading.get_ident()
    assert len(threads) == 13


async def test_start_raises_what_on_start_raises() -> None:
    def fail() -> None:
        raise KeyError("nothing")

    worker = DeviceWorker("device", on_start=fail)
    with pytest.raises(KeyError):
        await worker.start()
    await worker.close()


async def test_a_job_sees_the_context_of_its_awaiter(worker: DeviceWorker) -> None:
    name = contextvars.ContextVar[str]("name")
    name.set("mine")
    assert await worker.run(lambda _: name.get()) == "mine"


def recorder(trace: list[str], name: str, count: int) -> Callable[[CancelToken], Generator[None, None, None]]:
    def steps(_: CancelToken) -> Generator[None, None, None]:
        for _step in range(count):
            trace.append(name)
            yield

    return steps


async def order_of(jobs: list[tuple[str, int, int]]) -> list[str]:
    """Queue all jobs (name, steps, priority) behind a block and return the order of their steps."""
    worker, trace = DeviceWorker("device"), list[str]()
    await worker.start()
    block = await Block(worker).until_held()
    tasks = [asyncio.create_task(worker.submit(recorder(trace, *job[:2]), priority=job[2])) for job in jobs]
    await asyncio.sleep(0)
    block.let_go.set()
    await asyncio.gather(*tasks, block.task)
    await worker.close()
    return trace


async def test_equals_take_turns() -> None:
    assert await order_of([("a", 3, 0), ("b", 2, 0)]) == ["a", "b", "a", "b", "a"]


async def test_priority_goes_first() -> None:
    assert await order_of([("a", 2, 0), ("b", 2, 1)]) == ["b", "b", "a", "a"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 2)), min_size=1, max_size=6))
def test_turns_go_by_priority_then_in_a_circle(jobs: list[tuple[int, int]]) -> None:
    named = [(str(index), steps, priority) for index, (steps, priority) in enumerate(jobs)]
    expected = []
    for level in sorted({priority for _, _, priority in named}, reverse=True):
        circle = [(name, steps) for name, steps, priority in named if priority == level]
        rounds = max(steps for _, steps in circle)
        expected += [name for turn in range(rounds) for name, steps in circle if turn < steps]
    assert asyncio.run(order_of(named)) == expected


async def turns(count: int) -> None:
    """Let the event loop turn `count` times: a task that a cancel could end has ended by then."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_cancelled_awaiter_waits_until_the_thread_left(worker: DeviceWorker) -> None:
    block = await Block(worker).until_held()
    block.task.cancel()
    await turns(10)
    assert not block.task.done()
    block.let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await block.task


async def test_a_second_cancel_does_not_cut_the_wait_short(worker: DeviceWorker) -> None:
    block = await Block(worker).until_held()
    for _ in range(2):
        block.task.cancel()
        await turns(10)
    assert not block.task.done()
    block.let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await block.task


async def test_cancelling_the_awaiter_stops_a_job_between_steps(worker: DeviceWorker) -> None:
    events = list[str]()
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def steps(token: CancelToken) -> Generator[None, None, None]:
        try:
            while True:
                loop.call_soon_threadsafe(begun.set)
                yield
        finally:
            events.append(f"closed, cancelled {token.cancelled}")

    task = asyncio.create_task(worker.submit(steps))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert events == ["closed, cancelled True"]


async def test_a_cancelled_token_ends_a_job_with_cancelled(worker: DeviceWorker) -> None:
    def steps(token: CancelToken) -> Generator[None, None, None]:
        token.cancel()
        yield

    with pytest.raises(Cancelled):
        await worker.submit(steps)


async def test_queued_work_leaves_at_once_when_its_token_is_cancelled(worker: DeviceWorker) -> None:
    block = await Block(worker).until_held()
    token = CancelToken()
    task = asyncio.create_task(worker.run(lambda _: 1, token))
    await asyncio.sleep(0)
    token.cancel()
    with pytest.raises(Cancelled):
        await task
    assert not block.task.done()
    assert worker.queue_depth == 0
    block.let_go.set()
    await block.task


async def test_work_with_a_cancelled_token_does_not_begin(worker: DeviceWorker) -> None:
    token, ran = CancelToken(), list[int]()
    token.cancel()
    with pytest.raises(Cancelled):
        await worker.run(lambda _: ran.append(1), token)
    assert not ran


async def test_a_finished_job_leaves_nothing_on_its_token(worker: DeviceWorker) -> None:
    token = CancelToken()
    await worker.run(lambda _: None, token)
    assert token._callbacks == []


async def test_an_idle_thread_keeps_no_result(worker: DeviceWorker) -> None:
    gadget = await worker.run(lambda _: Gadget())
    watched = weakref.ref(gadget)
    del gadget
    await worker.run(lambda _: None)
    assert watched() is None


async def test_an_error_keeps_no_locals_of_the_failed_step(worker: DeviceWorker) -> None:
    watched = list["weakref.ref[Gadget]"]()

    def fail(_: CancelToken) -> None:
        gadget = Gadget()
        watched.append(weakref.ref(gadget))
        try:
            raise KeyError("first")
        except KeyError:
            raise ValueError("second") from None

    with pytest.raises(ValueError, match="second") as caught:
        await worker.run(fail)
    gc.collect()
    assert watched[0]() is None, caught


async def test_close_drains(worker: DeviceWorker) -> None:
    trace = list[str]()
    job = asyncio.create_task(worker.submit(recorder(trace, "a", 5)))
    await asyncio.sleep(0)
    await worker.close()
    await job
    assert trace == ["a"] * 5


async def test_close_without_drain_cancels_running_and_waiting(worker: DeviceWorker) -> None:
    def endless(_: CancelToken) -> Generator[None, None, None]:
        while True:
            yield

    jobs = [asyncio.create_task(worker.submit(endless)) for _ in range(3)]
    await asyncio.sleep(0)
    await worker.close(drain=False)
    results = await asyncio.gather(*jobs, return_exceptions=True)
    assert [type(each) for each in results] == [Cancelled] * 3


async def test_close_twice_and_unstarted() -> None:
    worker = DeviceWorker("device")
    await worker.close()
    await worker.close()


async def test_a_closed_worker_takes_no_work(worker: DeviceWorker) -> None:
    await worker.close()
    with pytest.raises(Draining):
        await worker.run(lambda _: 1)


async def test_counts_jobs_and_busy_seconds(worker: DeviceWorker) -> None:
    block = await Block(worker).until_held()
    waiting = asyncio.create_task(worker.run(lambda _: None))
    await asyncio.sleep(0)
    assert worker.queue_depth == 1
    block.let_go.set()
    await asyncio.gather(block.task, waiting)
    await worker.close()
    assert worker.jobs_done == 2
    assert worker.busy_s > 0


def test_a_token_calls_back_once() -> None:
    token, calls = CancelToken(), list[str]()
    token.on_cancel(lambda: calls.append("a"))
    forget = token.on_cancel(lambda: calls.append("b"))
    forget()
    token.cancel()
    token.cancel()
    token.on_cancel(lambda: calls.append("late"))
    assert calls == ["a", "late"]


def test_a_token_checks() -> None:
    token = CancelToken()
    token.check()
    token.cancel()
    with pytest.raises(Cancelled):
        token.check()
