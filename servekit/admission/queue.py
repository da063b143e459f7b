"""The policy of admission: pure, without clocks, threads or asyncio. Time is handed in, in seconds."""

import math
from dataclasses import dataclass, field
from itertools import count

SMOOTHING = 0.2
"""Weight of the newest measurement in the moving mean of seconds per unit of work."""
DOUBT = 0.1
"""Share that an estimate loses each time a request is refused by it: a wrong one must get to be measured anew."""


@dataclass(eq=False, slots=True)
class Waiter:
    """One request: waiting, running or gone.

    `work` is in any unit that is proportional to time for one key, for instance steps x megapixels, and that of one of
    `parts` which run side by side; `setup_s` are seconds that come on top, for instance to load the model.
    """

    key: str
    priority: int
    work: float
    setup_s: float
    arrival: int
    parts: int = 1
    bypassed: int = 0
    """Later arrivals of the same priority that were let in first."""
    passed_over: int = 0
    """Admissions of others while this was the oldest of all waiters."""
    started: float | None = None
    share: float = 0.0
    """What `AdmissionQueue` had shared out, in seconds, when it started."""


_Levels = dict[int, float]
"""Seconds per unit of work by the binary logarithm of how many ran side by side."""


@dataclass(slots=True)
class Pace:
    """Measured seconds per unit of work: by key, and over all keys for those not seen yet.

    What runs side by side slows each other down, by how much nobody knows beforehand. So what was measured in company
    is kept apart from what was measured alone.
    """

    _by_key: dict[str, _Levels] = field(default_factory=dict)
    _overall: _Levels = field(default_factory=dict)

    def record(self, key: str, seconds_per_unit: float, company: float = 1.0) -> None:
        """Take a measurement into the moving means. `company` are the parts that ran, on average, its own included."""
        level = _level(company)
        for levels in (self._by_key.setdefault(key, {}), self._overall):
            old = levels.get(level)
            levels[level] = seconds_per_unit if old is None else old + SMOOTHING * (seconds_per_unit - old)

    def of(self, key: str, company: float = 1.0) -> float | None:
        """Return the seconds per unit to expect in such company, or None before the first measurement.

        From other company than was measured follows the least it can be: fewer are faster in proportion at best, more
        are no slower at best.
        """
        levels = self._by_key.get(key) or self._overall
        if not levels:
            return None
        wanted = _level(company)
        nearest = min(levels, key=lambda level: abs(level - wanted))
        return float(levels[nearest] * 2.0 ** min(0, wanted - nearest))

    def doubt(self, key: str) -> None:
        """Lower what is expected of a key a little."""
        for levels in (self._by_key.get(key, {}), self._overall):
            for level in levels:
                levels[level] *= 1 - DOUBT


def _level(company: float) -> int:
    return round(math.log2(max(1.0, company)))


class AdmissionQueue:
    """A bounded queue in front of `capacity` places.

    Order: higher priority first, then arrival. Two exceptions, each bounded:

    * Grouping: among waiters of the highest waiting priority, one whose key is running (or ran last) may go before
      earlier arrivals of other keys, so that models are not swapped in and out. No waiter is bypassed in this way by
      more than `max_bypass` later arrivals.
    * Ageing: the oldest of all waiters goes first once `max_passed_over` others were let in while it was the oldest.
      So a waiter with n older ones waits for at most (n + 1) * (max_passed_over + 1) admissions, whatever arrives.
    """

    def __init__(self, *, capacity: int, limit: int, max_bypass: int = 8, max_passed_over: int = 32) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, not {capacity}")
        self.capacity = capacity
        self.limit = limit
        self.waiting: list[Waiter] = []
        self.running: list[Waiter] = []
        self.pace = Pace()
        self._max_bypass = max_bypass
        self._max_passed_over = max_passed_over
        self._last_key: str | None = None
        self._arrivals = count()
        self._shared_s = 0.0
        """Seconds that a part which runs all the time would have had, were they divided among those that run."""
        self._told_at = 0.0

    @property
    def full(self) -> bool:
        """True if one more request could neither run nor wait."""
        return len(self.waiting) >= self.limit and len(self.running) >= self.capacity

    def join(self, key: str, *, priority: int = 0, work: float = 1.0, parts: int = 1, setup_s: float = 0.0) -> Waiter:
        """Add a request at its place. The caller has seen that the queue is not `full`, and calls `admit` next."""
        waiter = Waiter(key, priority, work, setup_s, next(self._arrivals), parts)
        self.waiting.append(waiter)
        self.waiting.sort(key=lambda each: (-each.priority, each.arrival))
        return waiter

    def admit(self, now: float) -> list[Waiter]:
        """Move as many waiters as there are free places from waiting to running, and return them in order."""
        self._pass(now)
        admitted = []
        while self.waiting and len(self.running) < self.capacity:
            waiter = self._choose()
            self.waiting.remove(waiter)
            self.running.append(waiter)
            waiter.started, waiter.share = now, self._shared_s
            self._last_key = waiter.key
            admitted.append(waiter)
        return admitted

    def begin(self, waiter: Waiter, now: float) -> None:
        """Measure the work of a running request from here: what came before was setup."""
        self._pass(now)
        waiter.started, waiter.share = now, self._shared_s
        waiter.setup_s = 0.0

    def leave(self, waiter: Waiter, now: float, *, completed: bool) -> None:
        """Take a request out, wherever it is.

        Completed work counts as a measurement, other work only if it took longer than it should have in all.
        """
        self._pass(now)
        if waiter in self.waiting:
            self.waiting.remove(waiter)
            return
        late = self._is_late(waiter, now)
        self.running.remove(waiter)
        if (completed or late) and waiter.work > 0:
            self._measure(waiter, now)

    def position(self, waiter: Waiter) -> int:
        """Return how many waiters are ahead of this one; 0 means next."""
        return self.waiting.index(waiter)

    def wait_s(self, waiter: Waiter, now: float) -> float:
        """Estimate the seconds until a waiter may start."""
        return self._ahead_s(self.waiting[: self.position(waiter)], now)

    def newcomer_wait_s(self, now: float) -> float:
        """Estimate the seconds until a request that arrives now may start."""
        return self._ahead_s(self.waiting, now)

    def service_s(self, waiter: Waiter) -> float:
        """Estimate the seconds from start to end of a request; only its setup if no pace is known."""
        others = self.capacity - 1 if waiter.started is None else self._parts() - waiter.parts
        company = others + waiter.parts
        return waiter.setup_s + waiter.work * (self.pace.of(waiter.key, company) or 0.0)

    def newcomer_service_s(self, key: str, work: float, parts: int) -> float | None:
        """Estimate the same, without setup, for a request that arrives now; None if no pace is known."""
        pace = self.pace.of(key, self._parts() + parts)
        return None if pace is None else pace * work

    def _parts(self) -> int:
        return sum(each.parts for each in self.running)

    def _pass(self, now: float) -> None:
        """Share out the time since the last event."""
        if self.running:
            self._shared_s += (now - self._told_at) / self._parts()
        self._told_at = now

    def _is_late(self, waiter: Waiter, now: float) -> bool:
        known = self.pace.of(waiter.key) is not None
        return known and waiter.started is not None and now - waiter.started > self.service_s(waiter)

    def _measure(self, waiter: Waiter, now: float) -> None:
        started = now if waiter.started is None else waiter.started
        share = self._shared_s - waiter.share
        company = (now - started) / share if share > 0 else 1.0
        self.pace.record(waiter.key, max(0.0, now - started - waiter.setup_s) / waiter.work, company)

    def _ahead_s(self, ahead: list[Waiter], now: float) -> float:
        """Work ahead over capacity; nothing while a place is free."""
        if len(self.running) + len(ahead) < self.capacity:
            return 0.0
        running_s = sum(self._remaining_s(each, now) for each in self.running)
        return (running_s + sum(map(self.service_s, ahead))) / self.capacity

    def _remaining_s(self, waiter: Waiter, now: float) -> float:
        started = now if waiter.started is None else waiter.started
        return max(0.0, started + self.service_s(waiter) - now)

    def _choose(self) -> Waiter:
        oldest = min(self.waiting, key=lambda each: each.arrival)
        if oldest.passed_over >= self._max_passed_over:
            return oldest
        chosen = self._grouped() or self.waiting[0]
        if chosen is not oldest:
            oldest.passed_over += 1
        for earlier in self.waiting[: self.waiting.index(chosen)]:
            earlier.bypassed += 1
        return chosen

    def _grouped(self) -> Waiter | None:
        """Return the first waiter of a key in use that may pass everyone ahead of it."""
        in_use = {each.key for each in self.running} | {self._last_key}
        top = self.waiting[0].priority
        for waiter in self.waiting:
            if waiter.priority != top:
                return None
            if waiter.key in in_use:
                return waiter
            if waiter.bypassed >= self._max_bypass:
                return None
        return None
