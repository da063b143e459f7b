"""A simulated server: requests in, loads, evictions and waits out. No clock, no device, no randomness.

The policies are the server's own, `servekit.admission.AdmissionQueue` and `servekit.residency.Ledger`; only what takes
time is simulated. A request is admitted, waits for a lease, holds it while it is served, and leaves. As on a server,
one load or eviction is under way at a time, and what is on the device serves meanwhile.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from servekit.admission import AdmissionQueue, Waiter
from servekit.residency import Action, Drop, Evict, Ledger, Load, ModelSpec, Ranking, Request, RequestState, ReuseRate

PLACES = 8
"""Requests that are worked on at once."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request of a trace: when it comes, which model it wants, and the seconds it is served."""

    at_s: float
    model_id: str
    service_s: float


@dataclass(frozen=True, slots=True)
class Machine:
    """Memory in bytes and the paces of its paths in bytes per second."""

    device_bytes: int = 96 * 10**9
    host_bytes: int = 96 * 10**9
    disk_pace: float = 3e9
    link_pace: float = 25e9
    setup_s: float = 1.0
    """Seconds that a load from disk takes besides reading."""

    def load_s(self, size: int) -> float:
        """Return the seconds to load a model of `size` bytes from disk."""
        return self.setup_s + size / self.disk_pace


@dataclass(frozen=True, slots=True)
class Policy:
    """What is compared: how victims are ranked, whether models are counted or weighed, and what else is used."""

    name: str
    ranking: Callable[[], Ranking] = ReuseRate
    keep_last: int | None = None
    """Models kept at most; None counts bytes."""
    host_tier: bool = True
    grouping: int = 8
    """Later arrivals of a model in use that may pass a waiter."""


@dataclass(slots=True)
class Outcome:
    """What a run came to. `hits` found their model on the device; waits are from arrival to lease."""

    hits: int = 0
    swap_s: float = 0.0
    actions: Counter[str] = field(default_factory=Counter)
    waits_s: list[float] = field(default_factory=list)

    @property
    def hit_rate(self) -> float:
        """Return the share of requests whose model was on the device when they were admitted."""
        return self.hits / len(self.waits_s)

    @property
    def worst_wait_s(self) -> float:
        """Return the longest that any request waited."""
        return max(self.waits_s)


class Simulation:
    """One run of a policy. `sizes` are the models' bytes; `watch` is called with the ledger after every event."""

    def __init__(
        self,
        sizes: dict[str, int],
        machine: Machine,
        policy: Policy,
        *,
        watch: Callable[[Ledger], None] = lambda _ledger: None,
    ) -> None:
        self.outcome = Outcome()
        self._sizes = sizes
        self._machine = machine
        self._watch = watch
        self._ledger = _ledger(sizes, machine, policy)
        self._queue = AdmissionQueue(capacity=PLACES, limit=2**31, max_bypass=policy.grouping)
        self._arrivals: dict[Waiter, Arrival] = {}
        self._holders: dict[Request, Waiter] = {}
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._ties = count()

    def run(self, trace: Sequence[Arrival]) -> Outcome:
        """Serve a trace to its end. Raises `RuntimeError` if a request never ends."""
        for arrival in trace:
            self._at(arrival.at_s, partial(self._arrive, arrival))
        while self._events:
            now, _, happen = heapq.heappop(self._events)
            happen(now)
            self._admit(now)
            self._settle(now)
            self._watch(self._ledger)
        if len(self.outcome.waits_s) < len(trace):
            raise RuntimeError(f"{len(trace) - len(self.outcome.waits_s)} requests never ended")
        return self.outcome

    def _at(self, moment: float, happen: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (moment, next(self._ties), happen))

    def _arrive(self, arrival: Arrival, _now: float) -> None:
        self._arrivals[self._queue.join(arrival.model_id, work=arrival.service_s)] = arrival

    def _admit(self, now: float) -> None:
        for waiter in self._queue.admit(now):
            self.outcome.hits += self._ledger.entry(waiter.key).usable
            self._holders[self._ledger.request(waiter.key)] = waiter

    def _settle(self, now: float) -> None:
        step = self._ledger.advance(now)
        for request in step.settled:
            if request.state is not RequestState.GRANTED:
                raise RuntimeError(f"{request.model_id} cannot be served: {request.error}")
            arrival = self._arrivals[self._holders[request]]
            self.outcome.waits_s.append(now - arrival.at_s)
            self._at(now + arrival.service_s, partial(self._end, request))
        if step.action is not None:
            self._begin(step.action, now)

    def _end(self, request: Request, now: float) -> None:
        self._ledger.release(request, now)
        self._queue.leave(self._holders.pop(request), now, completed=True)

    def _begin(self, action: Action, now: float) -> None:
        seconds = self._seconds(action)
        kind = type(action).__name__.lower()
        self.outcome.actions[f"{kind} from host" if isinstance(action, Load) and action.from_host else kind] += 1
        self.outcome.swap_s += seconds
        self._at(now + seconds, partial(self._done, action, seconds))

    def _seconds(self, action: Action) -> float:
        size, machine = self._sizes[action.model_id], self._machine
        match action:
            case Load(from_host=False):
                return machine.load_s(size)
            case Load():
                return size / machine.link_pace
            case Evict(park=True) if not self._ledger.entry(action.model_id).host_bytes:
                return size / machine.link_pace
            case _:
                return 0.0

    def _done(self, action: Action, seconds: float, now: float) -> None:
        size, entry = self._sizes[action.model_id], self._ledger.entry(action.model_id)
        match action:
            case Load(model_id):
                self._ledger.loaded(
                    model_id, bytes_on_device=entry.bytes, host_bytes=entry.host_bytes, seconds=seconds, now=now
                )
            case Evict(model_id, reason, park):
                self._ledger.evicted(model_id, reason, host_bytes=size if park else 0)
            case Drop(model_id):
                self._ledger.dropped(model_id)


def _ledger(sizes: dict[str, int], machine: Machine, policy: Policy) -> Ledger:
    """Return the server's ledger; where models are counted, each weighs 1 of a budget of so many."""
    counted = policy.keep_last is not None
    specs = [ModelSpec(each, 1 if counted else size, machine.load_s(size)) for each, size in sizes.items()]
    return Ledger(
        specs,
        budget_bytes=machine.device_bytes if policy.keep_last is None else policy.keep_last,
        host_budget_bytes=machine.host_bytes if policy.host_tier else 0,
        ranking=policy.ranking(),
    )
