import time

import pytest

from servekit.context import RequestContext, activate, current
from services.router.hop import Hop, onward


def serve(seconds: float | None) -> None:
    deadline = None if seconds is None else time.monotonic() + seconds
    activate(RequestContext(request_id="abc", caller="", method="/m", deadline=deadline))


async def test_the_request_id_and_what_is_meant_for_everybody_go_along() -> None:
    serve(None)

    hop = onward([("traceparent", "00-1"), ("x-mine", "no"), ("x-bin", b"no")], 0.1)

    assert dict(hop.metadata) == {"x-request-id": "abc", "traceparent": "00-1"}


async def test_the_callers_name_goes_along_and_his_credentials_stay() -> None:
    activate(RequestContext(request_id="abc", caller="müller", method="/m", deadline=None))

    hop = onward([("authorization", "Bearer t"), ("x-atelier-caller", "somebody else")], 0.1)

    assert dict(hop.metadata) == {"x-request-id": "abc", "x-atelier-caller": "m%C3%BCller"}


async def test_a_call_without_deadline_has_no_time_limit() -> None:
    serve(None)

    assert onward(None, 0.1).timeout_s is None


@pytest.mark.parametrize(("remaining_s", "kept_s"), [(100.0, 2.0), (20.0, 2.0), (1.0, 0.1), (-1.0, 0.0)])
async def test_a_margin_is_kept_for_the_way_back(remaining_s: float, kept_s: float) -> None:
    serve(remaining_s)
    due = current().deadline

    hop = onward(None, 2.0)

    assert due is not None
    assert hop.deadline == pytest.approx(due - kept_s, abs=0.01)


def test_a_deadline_that_has_passed_leaves_nothing() -> None:
    assert Hop((), time.monotonic() - 5).timeout_s == 0.0
