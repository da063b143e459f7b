import asyncio
import time

import pytest

from servekit.context import RequestContext, activate, current, find


def _context(deadline: float | None = None) -> RequestContext:
    return RequestContext(request_id="id", caller="", method="/a.B/C", deadline=deadline)


def test_outside_a_call_there_is_no_context() -> None:
    assert find() is None
    with pytest.raises(LookupError, match="no call is being served"):
        current()


async def test_each_task_sees_its_own_call() -> None:
    async def serve(request_id: str) -> str:
        activate(RequestContext(request_id=request_id, caller="", method="/a.B/C", deadline=None))
        await asyncio.sleep(0)
        return current().request_id

    one, two = await asyncio.gather(serve("one"), serve("two"))
    assert (one, two) == ("one", "two")


async def test_a_task_started_by_a_call_belongs_to_it() -> None:
    async def child() -> str:
        return current().request_id

    activate(_context())
    assert await asyncio.create_task(child()) == "id"


def test_remaining_seconds_count_down_to_the_deadline() -> None:
    remaining_s = _context(deadline=time.monotonic() + 100).remaining_s()
    assert remaining_s is not None
    assert 99 < remaining_s <= 100


def test_a_call_without_a_deadline_has_no_remaining_seconds() -> None:
    assert _context().remaining_s() is None


def test_outgoing_metadata_carries_the_request_id() -> None:
    assert _context().outgoing_metadata() == (("x-request-id", "id"),)


def test_outgoing_metadata_carries_the_caller_in_ascii() -> None:
    call = RequestContext(request_id="id", caller="zoë/1", method="/a.B/C", deadline=None)
    assert call.outgoing_metadata() == (("x-request-id", "id"), ("x-atelier-caller", "zo%C3%AB/1"))
