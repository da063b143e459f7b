"""The language model over a real residency and a real device thread, with an engine of no weights."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Generator, Sequence

import pytest
from prometheus_client import CollectorRegistry

from servekit.errors import EngineFailure, ModelLoading
from servekit.residency import Loaded, ModelSpec, ModelState, OnProgress, Residency
from servekit.testing import ManualClock
from servekit.worker import CancelToken, DeviceWorker
from services.rewrite_llm.backends.resident import ResidentModel
from services.rewrite_llm.domain import Candidate
from services.rewrite_llm.metrics import RewriteMetrics
from services.rewrite_llm.ports import Engine, go_on
from tests.unit.services.rewrite_llm.fakes import ScriptedEngine

CANDIDATES = (Candidate("a", "x"), Candidate("bb", "y"))


class Shelf:
    """A loader that hands out one engine when it may, or fails."""

    def __init__(self) -> None:
        self.engine = ScriptedEngine()
        self.loads = 0
        self.failure: Exception | None = None
        self.may_load = asyncio.Event()
        self.may_load.set()

    async def load(self, model_id: str, on_progress: OnProgress, token: CancelToken) -> Loaded[Engine]:
        self.loads += 1
        await self.may_load.wait()
        if self.failure is not None:
            raise self.failure
        return Loaded(self.engine, 1)

    async def unload(self, value: Engine) -> None:
        return


class Rig:
    def __init__(self) -> None:
        self.shelf = Shelf()
        self.clock = ManualClock()
        self.worker = DeviceWorker("test-device")
        self.residency: Residency[Engine] = Residency([ModelSpec("m", 1)], self.shelf, budget_bytes=10)
        metrics = RewriteMetrics(CollectorRegistry())
        self.model = ResidentModel(
            "m", self.residency, self.worker, metrics, self.clock, max_batch=8, reload_after_s=60
        )

    @property
    def state(self) -> ModelState:
        return self.residency.model_status("m").state

    async def until(self, state: ModelState) -> None:
        async for status in self.residency.watch():
            if status.model("m").state is state:
                return


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    await rig.worker.start()
    yield rig
    rig.shelf.may_load.set()
    await rig.model.close()
    await rig.residency.close()
    await rig.worker.close()


async def test_a_loaded_model_answers_on_the_device_thread(rig: Rig) -> None:
    await rig.model.load()
    threads: list[str] = []
    answer = rig.shelf.engine.unsafe

    def noting(texts: object, check: Callable[[], None] = go_on) -> list[float]:
        threads.append(threading.current_thread().name)
        return answer(["unsafe"])

    rig.shelf.engine.unsafe = noting  # type: ignore[method-assign]
    assert await rig.model.unsafe("x") == 1.0
    assert threads == ["test-device"]


async def test_it_chooses_screens_and_rewords(rig: Rig) -> None:
    await rig.model.load()
    assert await rig.model.choose(CANDIDATES, "a lake") == (1.0, 2.0)
    assert await rig.model.unsafe("a lake") == 0.0
    assert await rig.model.reword("a lake", [], 4) == "A LA"


async def test_who_gives_up_on_a_wording_need_not_wait_for_a_busy_device(rig: Rig) -> None:
    await rig.model.load()
    begun, may_end, left = asyncio.Event(), threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def reword(text: str, categories: Sequence[str], max_chars: int) -> Generator[None, None, str]:
        try:
            loop.call_soon_threadsafe(begun.set)
            may_end.wait(10)
            yield
            return text
        finally:
            left.set()

    rig.shelf.engine.reword = reword  # type: ignore[method-assign]
    asking = asyncio.create_task(rig.model.reword("a lake", [], 4))
    await begun.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not left.is_set()
    may_end.set()
    await rig.worker.run(lambda _: None)
    assert left.is_set()


async def test_a_screening_that_nobody_waits_for_ends_before_its_next_pass(rig: Rig) -> None:
    await rig.model.load()
    begun, given_up, passes = asyncio.Event(), threading.Event(), []
    loop = asyncio.get_running_loop()

    def unsafe(texts: Sequence[str], check: Callable[[], None] = go_on) -> list[float]:
        for number in range(2):
            check()
            passes.append(number)
            loop.call_soon_threadsafe(begun.set)
            given_up.wait(10)
        return [0.0 for _ in texts]

    rig.shelf.engine.unsafe = unsafe  # type: ignore[method-assign]
    asking = asyncio.create_task(rig.model.unsafe("a lake"))
    await begun.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.sleep(0)  # the call hears of it
    given_up.set()
    await rig.worker.run(lambda _: None)
    assert passes == [0]


async def test_questions_at_the_same_time_share_a_pass(rig: Rig) -> None:
    await rig.model.load()
    await asyncio.gather(*(rig.model.unsafe(text) for text in "abcd"))
    assert sorted(text for batch in rig.shelf.engine.batches for text in batch) == ["a", "b", "c", "d"]
    assert len(rig.shelf.engine.batches) < 4


async def test_nobody_waits_for_a_load_but_a_question_begins_it(rig: Rig) -> None:
    rig.shelf.may_load.clear()
    for _ in range(3):
        with pytest.raises(ModelLoading):
            await rig.model.unsafe("a lake")
    rig.shelf.may_load.set()
    await rig.until(ModelState.READY)
    assert await rig.model.unsafe("a lake") == 0.0
    assert rig.shelf.loads == 1


async def test_a_failed_load_is_not_tried_again_at_once(rig: Rig) -> None:
    rig.shelf.failure = EngineFailure("no weights")
    await rig.model.load()
    with pytest.raises(ModelLoading) as failure:
        await rig.model.unsafe("a lake")
    assert (rig.shelf.loads, failure.value.retry_after_s) == (1, 60)


async def test_a_failed_load_is_tried_again_in_time(rig: Rig) -> None:
    rig.shelf.failure = EngineFailure("no weights")
    await rig.model.load()
    rig.shelf.failure = None
    rig.clock.advance(60)
    with pytest.raises(ModelLoading):
        await rig.model.unsafe("a lake")
    await rig.until(ModelState.READY)
    assert await rig.model.unsafe("a lake") == 0.0


async def test_any_failure_to_load_leaves_the_service_alive(rig: Rig) -> None:
    rig.shelf.failure = RuntimeError("a library broke")
    await rig.model.load()
    assert rig.state is ModelState.FAILED


async def test_closing_stops_a_load_under_way(rig: Rig) -> None:
    rig.shelf.may_load.clear()
    with pytest.raises(ModelLoading):
        await rig.model.unsafe("a lake")
    await rig.model.close()
    rig.shelf.may_load.set()
    await rig.until(ModelState.ABSENT)
