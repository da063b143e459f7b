import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest

from servekit.errors import Cancelled, DeviceOutOfMemory, Draining
from servekit.residency import (
    Loaded,
    LoadFailed,
    ModelBusy,
    ModelEvicted,
    ModelLoaded,
    ModelSpec,
    ModelState,
    OnProgress,
    OutOfMemory,
    Residency,
    ResidencyEvent,
    UnknownModel,
)
from servekit.testing import ManualClock
from servekit.worker import CancelToken

SIZES = {"a": 4, "b": 4, "huge": 99}


class Weights:
    """A model, which a weak reference can watch."""

    def __init__(self, model_id: str) -> None:
        self.model_id = model_id


class Shelf:
    """A loader and a host tier whose loads wait until the test lets them go on."""

    def __init__(self, clock: ManualClock) -> None:
        self.log: list[str] = []
        self.failures: list[Exception] = []
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.token = CancelToken()
        self._clock = clock

    async def load(self, model_id: str, on_progress: OnProgress, token: CancelToken) -> Loaded[Weights]:
        return await self._bring("load", model_id, Weights(model_id), on_progress, token)

    async def restore(
        self, model_id: str, value: Weights, on_progress: OnProgress, token: CancelToken
    ) -> Loaded[Weights]:
        return await self._bring("restore", model_id, value, on_progress, token)

    async def unload(self, value: Weights) -> None:
        self.log.append(f"unload {value.model_id}")

    async def park(self, model_id: str, value: Weights) -> int:
        self.log.append(f"park {model_id}")
        if self.failures:
            raise self.failures.pop()
        return SIZES[model_id]

    async def drop(self, model_id: str, value: Weights) -> None:
        self.log.append(f"drop {model_id}")

    async def _bring(
        self, verb: str, model_id: str, value: Weights, on_progress: OnProgress, token: CancelToken
    ) -> Loaded[Weights]:
        self.log.append(f"{verb} {model_id}")
        self.token = token
        self.begun.set()
        stopped = asyncio.Event()
        forget = token.on_cancel(stopped.set)
        on_progress(0.5)
        going = [asyncio.ensure_future(each.wait()) for each in (self.go_on, stopped)]
        _, left = await asyncio.wait(going, return_when=asyncio.FIRST_COMPLETED)
        for each in left:
            each.cancel()
        forget()
        token.check()
        if self.failures:
            raise self.failures.pop()
        self._clock.advance(3.0)
        return Loaded(value, SIZES[model_id])


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def shelf(clock: ManualClock) -> Shelf:
    return Shelf(clock)


@pytest.fixture
def events() -> list[ResidencyEvent]:
    return []


@pytest.fixture
async def build(
    clock: ManualClock, shelf: Shelf, events: list[ResidencyEvent]
) -> AsyncIterator[Callable[..., Residency[Weights]]]:
    built = []

    def build(*, budget: int = 6, host: int = 0, idle_timeout_s: float | None = None) -> Residency[Weights]:
        residency = Residency(
            [ModelSpec(model_id, size) for model_id, size in SIZES.items()],
            shelf,
            budget_bytes=budget,
            host=shelf if host else None,
            host_budget_bytes=host,
            idle_timeout_s=idle_timeout_s,
            clock=clock,
            on_event=events.append,
        )
        built.append(residency)
        return residency

    yield build
    for residency in built:
        await residency.close()


@pytest.fixture
def residency(build: Callable[..., Residency[Weights]]) -> Residency[Weights]:
    return build()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def until(residency: Residency[Weights], model_id: str, state: ModelState) -> None:
    async for status in residency.watch():
        if status.model(model_id).state is state:
            return


async def test_a_lease_gives_the_model(residency: Residency[Weights]) -> None:
    async with residency.acquire("a") as lease:
        assert lease.value.model_id == "a"
        assert lease.waited_s == 3.0
        assert residency.model_status("a").leases == 1
    assert residency.model_status("a").leases == 0


async def test_a_resident_model_is_not_loaded_again(residency: Residency[Weights], shelf: Shelf) -> None:
    for _ in range(2):
        async with residency.acquire("a") as lease:
            pass
    assert shelf.log == ["load a"]
    assert lease.waited_s == 0.0


async def test_a_lease_that_ended_gives_no_model(residency: Residency[Weights]) -> None:
    async with residency.acquire("a") as lease:
        pass
    with pytest.raises(RuntimeError, match="has ended"):
        _ = lease.value


async def test_requests_share_one_load(residency: Residency[Weights], shelf: Shelf) -> None:
    await asyncio.gather(*(residency.load("a") for _ in range(5)))
    assert shelf.log == ["load a"]


async def test_progress_reaches_everyone_who_waits(residency: Residency[Weights], shelf: Shelf) -> None:
    shelf.go_on.clear()
    early, late = list[float](), list[float]()
    first = asyncio.create_task(residency.load("a", on_progress=early.append))
    await shelf.begun.wait()
    await settle()
    second = asyncio.create_task(residency.load("a", on_progress=late.append))
    await settle()
    assert residency.model_status("a").fraction == 0.5
    shelf.go_on.set()
    await asyncio.gather(first, second)
    assert early == [0.0, 0.5, 1.0]
    assert late == [0.5, 1.0]


async def test_a_resident_model_serves_while_another_loads(
    build: Callable[..., Residency[Weights]], shelf: Shelf
) -> None:
    residency = build(budget=10)
    await residency.load("a")
    shelf.go_on.clear()
    shelf.begun.clear()
    loading = asyncio.create_task(residency.load("b"))
    await shelf.begun.wait()
    async with residency.acquire("a"):
        assert residency.model_status("b").state is ModelState.LOADING
    shelf.go_on.set()
    await loading


async def test_an_unknown_model_names_the_nearest(residency: Residency[Weights]) -> None:
    with pytest.raises(UnknownModel) as unknown:
        await residency.load("hug")
    assert unknown.value.nearest == ("huge",)


async def test_what_never_fits_fails_at_once(residency: Residency[Weights], shelf: Shelf) -> None:
    with pytest.raises(DeviceOutOfMemory):
        await residency.load("huge")
    assert shelf.log == []


async def test_an_idle_model_makes_room(residency: Residency[Weights], shelf: Shelf) -> None:
    await residency.load("a")
    await residency.load("b")
    assert shelf.log == ["load a", "unload a", "load b"]


async def test_a_request_waits_for_a_lease_to_end(residency: Residency[Weights], shelf: Shelf) -> None:
    async with residency.acquire("a"):
        waiting = asyncio.create_task(residency.load("b"))
        await settle()
        assert residency.model_status("b").state is ModelState.QUEUED
    await waiting
    assert shelf.log == ["load a", "unload a", "load b"]


async def test_cancelling_the_last_waiter_stops_the_load(
    residency: Residency[Weights], shelf: Shelf, events: list[ResidencyEvent]
) -> None:
    shelf.go_on.clear()
    waiters = [asyncio.create_task(residency.load("a")) for _ in range(2)]
    await shelf.begun.wait()
    waiters[0].cancel()
    await settle()
    assert not shelf.token.cancelled
    waiters[1].cancel()
    await asyncio.wait(waiters)
    await until(residency, "a", ModelState.ABSENT)
    assert [type(each) for each in events] == [LoadFailed]
    assert residency.model_status("a").error == ""


async def test_a_waiter_who_leaves_just_as_its_load_is_decided_on_stops_it(
    build: Callable[..., Residency[Weights]], shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = shelf.load

    async def cancel_who_is_next(model_id: str, on_progress: OnProgress, token: CancelToken) -> Loaded[Weights]:
        loaded = await load(model_id, on_progress, token)
        waiting.cancel()
        return loaded

    monkeypatch.setattr(shelf, "load", cancel_who_is_next)
    residency = build(budget=10)
    first = asyncio.create_task(residency.load("a"))
    waiting = asyncio.create_task(residency.load("b"))
    await asyncio.wait([first, waiting])
    await settle()
    assert shelf.log == ["load a", "load b"]
    assert shelf.token.cancelled
    assert residency.model_status("b").state is ModelState.ABSENT


async def test_who_comes_while_a_load_stops_has_it_begin_again(residency: Residency[Weights], shelf: Shelf) -> None:
    shelf.go_on.clear()
    first = asyncio.create_task(residency.load("a"))
    await shelf.begun.wait()
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    shelf.go_on.set()
    await residency.load("a")
    assert shelf.log == ["load a", "load a"]


async def test_cancelling_while_waiting_for_room_leaves_no_trace(residency: Residency[Weights]) -> None:
    async with residency.acquire("a"):
        waiting = asyncio.create_task(residency.load("b"))
        await settle()
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        assert residency.model_status("b").state is ModelState.ABSENT
    assert residency.model_status("a").state is ModelState.READY


async def test_a_failed_load_fails_its_requests_and_may_be_tried_again(
    residency: Residency[Weights], shelf: Shelf, events: list[ResidencyEvent]
) -> None:
    shelf.failures = [ValueError("bad weights")]
    results = await asyncio.gather(*(residency.load("a") for _ in range(2)), return_exceptions=True)
    assert [type(each) for each in results] == [ValueError, ValueError]
    assert residency.model_status("a").state is ModelState.FAILED
    assert residency.model_status("a").error == "bad weights"
    await residency.load("a")
    assert [type(each) for each in events] == [LoadFailed, ModelLoaded]


async def test_a_load_that_is_cancelled_from_within_fails_its_requests(
    residency: Residency[Weights], shelf: Shelf
) -> None:
    shelf.failures = [Cancelled()]
    with pytest.raises(Cancelled):
        await residency.load("a")


async def test_out_of_memory_evicts_the_idle_and_tries_once_more(
    build: Callable[..., Residency[Weights]], shelf: Shelf, events: list[ResidencyEvent]
) -> None:
    residency = build(budget=10)
    await residency.load("a")
    shelf.failures = [DeviceOutOfMemory(wanted_bytes=4, free_bytes=1)]
    await residency.load("b")
    assert shelf.log == ["load a", "load b", "unload a", "load b"]
    assert [type(each) for each in events] == [ModelLoaded, OutOfMemory, ModelEvicted, ModelLoaded]


async def test_out_of_memory_twice_is_a_typed_error(residency: Residency[Weights], shelf: Shelf) -> None:
    shelf.failures = [DeviceOutOfMemory(wanted_bytes=4, free_bytes=1) for _ in range(2)]
    with pytest.raises(DeviceOutOfMemory) as failed:
        await residency.load("a")
    assert (failed.value.wanted_bytes, failed.value.free_bytes) == (4, 1)


async def test_work_that_ran_out_of_memory_waits_for_what_is_idle_and_not_for_its_own_lease(
    build: Callable[..., Residency[Weights]], shelf: Shelf
) -> None:
    residency = build(budget=10)
    await residency.load("b")
    async with residency.acquire("a"):
        residency.resized("a", 12)
        evicting = asyncio.create_task(residency.evict_idle())
        await settle()
        assert evicting.done()
        assert shelf.log == ["load b", "load a", "unload b"]


async def test_unload_waits_until_the_bytes_are_free(residency: Residency[Weights], shelf: Shelf) -> None:
    await residency.load("a")
    await residency.unload("a")
    assert shelf.log == ["load a", "unload a"]
    assert residency.status().used_bytes == 0


async def test_unload_frees_host_memory_too_although_the_model_expires_meanwhile(
    build: Callable[..., Residency[Weights]], shelf: Shelf
) -> None:
    residency = build(budget=10, host=8)
    await residency.load("a")
    shelf.go_on.clear()
    loading = asyncio.create_task(residency.load("b"))
    await settle()
    unloading = asyncio.create_task(residency.unload("a"))
    await settle()
    residency.sweep(0.0)
    shelf.go_on.set()
    await asyncio.gather(loading, unloading)
    assert shelf.log == ["load a", "load b", "unload a"]


async def test_a_model_in_use_cannot_be_unloaded(residency: Residency[Weights]) -> None:
    async with residency.acquire("a"):
        with pytest.raises(ModelBusy):
            await residency.unload("a")


async def test_an_unload_that_a_pin_takes_back_is_an_error(
    residency: Residency[Weights], shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def load_to_the_end(model_id: str, on_progress: OnProgress, token: CancelToken) -> Loaded[Weights]:
        shelf.begun.set()
        await shelf.go_on.wait()
        return Loaded(Weights(model_id), SIZES[model_id])

    monkeypatch.setattr(shelf, "load", load_to_the_end)
    shelf.go_on.clear()
    loading = asyncio.create_task(residency.load("a"))
    await shelf.begun.wait()
    loading.cancel()
    await asyncio.wait([loading])
    unloading = asyncio.create_task(residency.unload("a"))
    await asyncio.sleep(0)
    residency.pin("a")
    shelf.go_on.set()

    with pytest.raises(ModelBusy, match="pinned before"):
        await unloading
    assert residency.model_status("a").pinned


async def test_an_unload_that_raises_does_not_stop_the_rest(
    residency: Residency[Weights], shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(value: Weights) -> None:
        raise OSError("stuck")

    await residency.load("a")
    monkeypatch.setattr(shelf, "unload", fail)
    await residency.load("b")
    assert residency.model_status("b").state is ModelState.READY


async def test_a_pin_keeps_a_model_until_it_is_cleared(residency: Residency[Weights]) -> None:
    await residency.load("a", pin=True)
    with pytest.raises(DeviceOutOfMemory):
        await residency.load("b")
    residency.unpin("a")
    await residency.load("b")


async def test_host_memory_keeps_what_is_evicted(build: Callable[..., Residency[Weights]], shelf: Shelf) -> None:
    residency = build(host=8)
    for model_id in "aba":
        await residency.load(model_id)
    assert shelf.log == ["load a", "park a", "load b", "park b", "restore a"]
    assert residency.status().host_used_bytes == 4


async def test_parking_that_fails_unloads(build: Callable[..., Residency[Weights]], shelf: Shelf) -> None:
    residency = build(host=8)
    await residency.load("a")
    shelf.failures = [MemoryError()]
    await residency.unload("b")
    await residency.evict_idle()
    assert shelf.log == ["load a", "park a", "unload a"]
    assert residency.model_status("a").state is ModelState.ABSENT


async def test_a_copy_that_does_not_come_back_is_dropped(
    build: Callable[..., Residency[Weights]], shelf: Shelf
) -> None:
    residency = build(host=8)
    await residency.load("a")
    await residency.evict_idle()
    shelf.failures = [ValueError("garbled")]
    with pytest.raises(ValueError, match="garbled"):
        await residency.load("a")
    await residency.load("a")
    assert shelf.log == ["load a", "park a", "restore a", "drop a", "load a"]


async def test_unused_models_leave_after_the_timeout(
    build: Callable[..., Residency[Weights]], clock: ManualClock, events: list[ResidencyEvent]
) -> None:
    residency = build(idle_timeout_s=60.0)
    await residency.start()
    await residency.load("a")
    await settle()
    clock.advance(59.0)
    await settle()
    assert residency.model_status("a").state is ModelState.READY
    clock.advance(15.0)
    await until(residency, "a", ModelState.ABSENT)
    evicted = events[-1]
    assert isinstance(evicted, ModelEvicted)
    assert (evicted.reason.value, evicted.age_s) == ("idle", 74.0)


async def test_watch_begins_with_a_snapshot_and_gives_every_state(residency: Residency[Weights]) -> None:
    states = []

    async def watch() -> None:
        async for status in residency.watch():
            states.append(status.model("a").state)

    watcher = asyncio.create_task(watch())
    await settle()
    await residency.load("a")
    await settle()
    await residency.close()
    await watcher
    assert states[0] is ModelState.ABSENT
    assert ModelState.LOADING in states
    assert ModelState.READY in states
    assert states[-1] is ModelState.ABSENT


async def test_the_time_to_load_is_measured(residency: Residency[Weights]) -> None:
    assert residency.load_seconds("a") == 10.0
    await residency.load("a")
    assert residency.load_seconds("a") == 0.0
    await residency.unload("a")
    assert residency.load_seconds("a") == 3.0


async def test_close_waits_for_leases_and_unloads_everything(residency: Residency[Weights], shelf: Shelf) -> None:
    async with residency.acquire("a"):
        closing = asyncio.create_task(residency.close())
        await settle()
        assert not closing.done()
        with pytest.raises(Draining):
            await residency.load("b")
    await closing
    assert shelf.log == ["load a", "unload a"]


async def test_close_stops_a_load(residency: Residency[Weights], shelf: Shelf) -> None:
    shelf.go_on.clear()
    loading = asyncio.create_task(residency.load("a"))
    await shelf.begun.wait()
    await residency.close()
    with pytest.raises(Draining):
        await loading
    assert shelf.token.cancelled


async def test_nothing_keeps_an_evicted_model(residency: Residency[Weights]) -> None:
    async with residency.acquire("a") as lease:
        watched = weakref.ref(lease.value)
    await residency.evict_idle()
    assert watched() is None, lease


async def test_nothing_keeps_the_weights_of_a_failed_load(residency: Residency[Weights], shelf: Shelf) -> None:
    shelf.failures = [ValueError("bad weights")]
    with pytest.raises(ValueError, match="bad weights") as failed:
        await residency.load("a")
    gc.collect()
    assert not [each for each in gc.get_objects() if type(each) is Weights], failed


async def test_a_listener_that_raises_harms_only_itself(residency: Residency[Weights]) -> None:
    errors = list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context["exception"]))

    def fail(fraction: float) -> None:
        raise KeyError(fraction)

    heard = list[float]()
    await asyncio.gather(residency.load("a", on_progress=fail), residency.load("a", on_progress=heard.append))
    assert heard == [0.0, 0.5, 1.0]
    assert len(errors) == 3
