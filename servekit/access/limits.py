"""How often and how much at once each caller calls."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from servekit.access.domain import Caller, Limits
from servekit.clock import Clock
from servekit.errors import QuotaExceeded, RateLimited

_RETRY_QUOTA_S = 1.0
_SWEEP_EVERY = 10_000
"""New callers between two sweeps, which forget those who have not called for long enough to have no debts."""


@dataclass(slots=True)
class _Use:
    """What a caller has used. `free_at` is when the calls he has made are paid for, in seconds of the clock."""

    free_at: float = 0.0
    running: int = 0


class Limiter:
    """Counts the calls of each caller: a token bucket for the rate (as GCRA, one number), a count for what runs."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._uses: dict[str, _Use] = {}
        self._sweep_at = _SWEEP_EVERY

    @contextmanager
    def one(self, caller: Caller) -> Iterator[None]:
        """Count a call for the length of the block; raises `QuotaExceeded` or `RateLimited`."""
        limits = caller.limits
        if limits.requests_per_second is None and limits.concurrent_calls is None:
            yield
            return
        use = self._use(caller.name)
        if limits.concurrent_calls is not None and use.running >= limits.concurrent_calls:
            message = f"{caller.name} has {use.running} calls under way, the limit"
            raise QuotaExceeded(message, retry_after_s=_RETRY_QUOTA_S)
        self._pay(use, caller.name, limits)
        use.running += 1
        try:
            yield
        finally:
            use.running -= 1

    def _pay(self, use: _Use, name: str, limits: Limits) -> None:
        if limits.requests_per_second is None:
            return
        now, each_s = self._clock.monotonic(), 1 / limits.requests_per_second
        paid_at = max(use.free_at, now) + each_s
        wait_s = paid_at - limits.burst * each_s - now
        if wait_s > 1e-9:
            message = f"{name} makes more than {limits.requests_per_second:g} calls per second"
            raise RateLimited(message, retry_after_s=wait_s)
        use.free_at = paid_at

    def _use(self, name: str) -> _Use:
        use = self._uses.get(name)
        if use is None:
            if len(self._uses) >= self._sweep_at:
                self._sweep()
            use = self._uses[name] = _Use()
        return use

    def _sweep(self) -> None:
        now = self._clock.monotonic()
        self._uses = {name: use for name, use in self._uses.items() if use.running or use.free_at > now}
        self._sweep_at = len(self._uses) + _SWEEP_EVERY
