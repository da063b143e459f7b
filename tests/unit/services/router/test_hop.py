import time

import pytest

from servekit.context import RequestContext, activate
from servekit.errors import DeadlineTooShort
from services.router.hop import Hop, onward


def serve(seconds: float | None) -> None:
    deadline = None if seconds is None else time.monotonic() + seconds
    activate(RequestContext(request_id="abc", caller="", method="/m", deadline=deadline))


async def test_the_request_id_and_what_is_meant_for_everybody_go_along() -> None:
    serve(None)

    hop = onward([("authorization", "Bearer t"), ("traceparent", "00-1"), ("x-mine", "no"), ("x-bin", b"no")], 0.1)

    assert dict(hop.metadata) == {"x-request-id": "abc", "authorization": "Bearer t", "traceparent": "00-1"}


async def test_a_call_without_deadline_has_no_time_limit() -> None:
    serve(None)

    assert onward(None, 0.1).timeout_s is None


async def test_the_margin_is_kept_for_the_way_back() -> None:
    serve(10.0)

    timeout_s = onward(None, 2.0).timeout_s

    assert timeout_s is not None
    assert 7 < timeout_s <= 8


async def test_a_deadline_within_the_margin_is_too_short() -> None:
    serve(0.05)

    with pytest.raises(DeadlineTooShort):
        onward(None, 0.1)


def test_a_deadline_that_has_passed_leaves_nothing() -> None:
    assert Hop((), time.monotonic() - 5).timeout_s == 0.0
