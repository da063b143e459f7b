from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servekit.access.domain import Caller, Limits
from servekit.access.limits import Limiter
from servekit.errors import QuotaExceeded, RateLimited
from servekit.testing import ManualClock


def _caller(name: str = "web", **limits: float | int) -> Caller:
    return Caller(name, limits=Limits(**limits))  # type: ignore[arg-type]


def _call(limiter: Limiter, caller: Caller) -> None:
    with limiter.one(caller):
        pass


def test_without_limits_anything_goes() -> None:
    limiter = Limiter(ManualClock())
    for _ in range(1000):
        _call(limiter, _caller())


def test_a_burst_passes_and_then_the_rate_holds() -> None:
    clock = ManualClock()
    limiter, caller = Limiter(clock), _caller(requests_per_second=2.0, burst=3)
    for _ in range(3):
        _call(limiter, caller)
    with pytest.raises(RateLimited) as caught:
        _call(limiter, caller)
    assert caught.value.retry_after_s == pytest.approx(0.5)
    clock.advance(0.5)
    _call(limiter, caller)
    with pytest.raises(RateLimited):
        _call(limiter, caller)


@given(
    rate=st.floats(0.1, 100),
    burst=st.integers(1, 20),
    pauses=st.lists(st.floats(0, 5), min_size=1, max_size=60),
)
def test_no_interval_sees_more_than_burst_and_rate_allow(rate: float, burst: int, pauses: list[float]) -> None:
    clock = ManualClock()
    limiter, caller = Limiter(clock), _caller(requests_per_second=rate, burst=burst)
    passed: list[float] = []
    for pause in pauses:
        clock.advance(pause)
        try:
            _call(limiter, caller)
        except RateLimited as error:
            assert error.retry_after_s is not None
            assert 0 < error.retry_after_s <= 1 / rate + 1e-6
        else:
            passed.append(clock.monotonic())
    for first, begin in enumerate(passed):
        for count, end in enumerate(passed[first:], start=1):
            assert count <= burst + rate * (end - begin) + 1e-6


def test_callers_do_not_share_their_rate() -> None:
    limiter = Limiter(ManualClock())
    _call(limiter, _caller("a", requests_per_second=1.0))
    _call(limiter, _caller("b", requests_per_second=1.0))


def test_only_so_many_calls_run_at_once() -> None:
    limiter, caller = Limiter(ManualClock()), _caller(concurrent_calls=2)
    with ExitStack() as running:
        running.enter_context(limiter.one(caller))
        running.enter_context(limiter.one(caller))
        with pytest.raises(QuotaExceeded, match="2 calls under way"):
            _call(limiter, caller)
    _call(limiter, caller)


def test_a_refused_call_is_not_counted() -> None:
    clock = ManualClock()
    limiter, caller = Limiter(clock), _caller(requests_per_second=1.0, concurrent_calls=1)
    _call(limiter, caller)
    with pytest.raises(RateLimited):
        _call(limiter, caller)
    clock.advance(1.0)
    _call(limiter, caller)


def test_callers_of_long_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("servekit.access.limits._SWEEP_EVERY", 3)
    clock = ManualClock()
    limiter = Limiter(clock)
    for number in range(100):
        clock.advance(1.0)
        _call(limiter, _caller(str(number), requests_per_second=1.0))
    assert len(limiter._uses) < 10
