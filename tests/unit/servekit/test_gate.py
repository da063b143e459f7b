import asyncio
from collections.abc import Awaitable, Callable

import pytest

from servekit.errors import DeadlineExceeded, Draining, ModelLoading, Overloaded
from servekit.gate import Gate

HEALTH = "/grpc.health.v1.Health/Watch"


async def _answer() -> str:
    return "answer"


async def _for_ever() -> str:
    await asyncio.get_running_loop().create_future()
    raise AssertionError("a future that nobody sets was set")


async def _inside(gate: Gate, method: str, work: Callable[[], Awaitable[str]] = _for_ever) -> "asyncio.Task[str]":
    task = asyncio.create_task(gate.admit(method, None, work))
    await asyncio.sleep(0)
    return task


async def test_a_new_gate_refuses_because_the_server_starts() -> None:
    with pytest.raises(ModelLoading, match="starting"):
        await Gate().admit("/a.B/C", None, _answer)


async def test_an_open_gate_admits() -> None:
    gate = Gate()
    gate.open()
    assert await gate.admit("/a.B/C", None, _answer) == "answer"


async def test_a_gate_that_drains_still_admits_what_grpc_let_in() -> None:
    gate = Gate()
    gate.open()
    gate.end_lasting()
    assert await gate.admit("/a.B/C", None, _answer) == "answer"


@pytest.mark.parametrize("prepare", [lambda gate: None, Gate.end_lasting])
async def test_health_checks_always_enter(prepare: Callable[[Gate], None]) -> None:
    gate = Gate()
    prepare(gate)
    assert await gate.admit(HEALTH, None, _answer) == "answer"


async def test_draining_leaves_those_inside_alone() -> None:
    gate = Gate()
    gate.open()
    may_go = asyncio.Event()

    async def work() -> str:
        await may_go.wait()
        return "done"

    task = await _inside(gate, "/a.B/C", work)
    gate.end_lasting()
    may_go.set()
    assert await task == "done"


@pytest.mark.parametrize("method", ["/a.B/Watch", HEALTH])
async def test_lasting_calls_are_ended_by_themselves(method: str) -> None:
    gate = Gate(lasting=["/a.B/Watch"])
    gate.open()
    lasting, other = await _inside(gate, method), await _inside(gate, "/a.B/C")
    gate.end_lasting()
    with pytest.raises(Draining) as caught:
        await lasting
    assert caught.value.retry_after_s
    assert not other.done()
    gate.end_all()
    with pytest.raises(Draining):
        await other


async def test_a_full_gate_refuses_all_but_what_lasts() -> None:
    gate = Gate(lasting=["/a.B/Watch"], capacity=2)
    gate.open()
    inside = [await _inside(gate, "/a.B/C") for _ in range(2)]
    with pytest.raises(Overloaded, match="2 calls are under way") as caught:
        await gate.admit("/a.B/C", None, _answer)
    assert caught.value.retry_after_s
    assert [await gate.admit(method, None, _answer) for method in ("/a.B/Watch", HEALTH)] == ["answer", "answer"]
    inside[0].cancel()
    await asyncio.wait(inside[:1])
    assert await gate.admit("/a.B/C", None, _answer) == "answer"
    gate.end_all()
    await asyncio.gather(*inside, return_exceptions=True)


async def test_what_lasts_takes_no_place() -> None:
    gate = Gate(lasting=["/a.B/Watch"], capacity=1)
    gate.open()
    inside = [await _inside(gate, method) for method in ("/a.B/Watch", "/a.B/Watch", HEALTH)]
    assert await gate.admit("/a.B/C", None, _answer) == "answer"
    gate.end_all()
    await asyncio.gather(*inside, return_exceptions=True)


async def test_the_limit_is_kept() -> None:
    gate = Gate()
    gate.open()
    with pytest.raises(DeadlineExceeded, match=r"0\.01 s"):
        await gate.admit("/a.B/C", 0.01, _for_ever)


async def test_a_timeout_of_the_work_itself_is_not_taken_for_the_limit() -> None:
    async def work() -> str:
        raise TimeoutError("mine")

    gate = Gate()
    gate.open()
    with pytest.raises(TimeoutError, match="mine"):
        await gate.admit("/a.B/C", 60, work)


async def test_ending_twice_is_harmless() -> None:
    gate = Gate()
    gate.open()
    task = await _inside(gate, "/a.B/C")
    gate.end_all()
    gate.end_all()
    with pytest.raises(Draining):
        await task


async def test_a_cancelled_call_stays_cancelled() -> None:
    gate = Gate()
    gate.open()
    task = await _inside(gate, "/a.B/C")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
