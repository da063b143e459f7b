"""The policy of residency: pure, without clocks, threads or asyncio.

Tell it what happens (`request`, `release`, `withdraw`, `loaded`, `evicted`...), then call `advance`: it grants or fails
requests and names the one thing to do next. Only one load, eviction or drop is under way at a time; models on the
device keep serving meanwhile. `now` is in seconds of any clock.

What holds, whatever is asked:

* The footprints of what is on the device, on its way to it or from it never exceed the budget, unless a load turns out
  heavier than estimated: then nothing is granted until enough has left again.
* A leased or pinned model is never evicted.
* Loads are begun in the order of arrival. A model that must leave for the first in line takes at most `max_bypass` new
  leases before it does; models that may stay serve on. So every request is granted or fails, if every lease ends.
"""

from collections.abc import Iterable, Iterator
from itertools import count

from servekit.errors import DeviceOutOfMemory
from servekit.residency.actions import Action, Advance, Drop, Evict, Load, Request, RequestState
from servekit.residency.entry import Entry
from servekit.residency.greedy_dual import GreedyDual
from servekit.residency.models import EvictReason, ModelBusy, ModelSpec, ModelState, ResidencyStatus


class Ledger:
    """Bytes of one device (`budget_bytes`) and of the host-memory tier (`host_budget_bytes`, 0 for none)."""

    def __init__(
        self, specs: Iterable[ModelSpec], *, budget_bytes: int, host_budget_bytes: int = 0, max_bypass: int = 8
    ) -> None:
        self.budget_bytes = budget_bytes
        self.host_budget_bytes = host_budget_bytes
        self._entries = {spec.model_id: Entry(spec) for spec in specs}
        self._waiting: list[Request] = []
        self._in_flight: Action | None = None
        self._max_bypass = max_bypass
        self._arrivals = count()
        self._device = GreedyDual()
        self._host = GreedyDual()
        self._closed: BaseException | None = None

    # What is known

    @property
    def model_ids(self) -> tuple[str, ...]:
        """All models, in catalog order."""
        return tuple(self._entries)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All lines, in catalog order, to read."""
        return tuple(self._entries.values())

    @property
    def used_bytes(self) -> int:
        """Bytes on the device, on their way to it or from it, as far as known."""
        return sum(entry.bytes for entry in self._entries.values() if entry.occupies)

    @property
    def host_used_bytes(self) -> int:
        """Bytes of copies in host memory."""
        return sum(entry.host_bytes for entry in self._entries.values())

    @property
    def leases(self) -> int:
        """Leases held now, over all models."""
        return sum(entry.leases for entry in self._entries.values())

    @property
    def orphaned_load(self) -> str | None:
        """The model that is being loaded though nobody waits for it any more."""
        if isinstance(self._in_flight, Load) and not self._wanted(self._in_flight.model_id):
            return self._in_flight.model_id
        return None

    def entry(self, model_id: str) -> Entry:
        """Return a model's line, to read. Raises KeyError if there is no such model."""
        return self._entries[model_id]

    def status(self, now: float, fraction: float = 0.0) -> ResidencyStatus:
        """Return a snapshot; `fraction` is how far the load under way is."""
        return ResidencyStatus(
            budget_bytes=self.budget_bytes,
            used_bytes=self.used_bytes,
            host_budget_bytes=self.host_budget_bytes,
            host_used_bytes=self.host_used_bytes,
            models=tuple(
                entry.status(waiting=self._wanted(model_id), fraction=fraction, now=now)
                for model_id, entry in self._entries.items()
            ),
        )

    # What happens

    def request(self, model_id: str) -> Request:
        """Ask for a lease. Raises KeyError if there is no such model."""
        request = Request(self._entries[model_id].spec.model_id, next(self._arrivals))
        self._waiting.append(request)
        return request

    def withdraw(self, request: Request) -> None:
        """Stop waiting."""
        self._waiting.remove(request)
        request.state = RequestState.ENDED
        if not self._wanted(request.model_id):
            self._entries[request.model_id].retrying = False

    def release(self, request: Request, now: float) -> None:
        """End a lease."""
        request.state = RequestState.ENDED
        entry = self._entries[request.model_id]
        entry.leases -= 1
        self._use(entry, now)

    def pin(self, model_id: str, pinned: bool) -> None:
        """Set or clear a pin. Does not load."""
        entry = self._entries[model_id]
        entry.pinned = pinned
        if pinned and entry.doom is EvictReason.IDLE:
            entry.doom = None

    def unload(self, model_id: str) -> None:
        """Have a model leave device and host. Raises ModelBusy if it is leased, pinned or waited for."""
        entry = self._entries[model_id]
        if entry.leases or entry.pinned or (self._wanted(model_id) and entry.occupies):
            why = (
                f"{entry.leases} requests use it"
                if entry.leases
                else "it is pinned"
                if entry.pinned
                else "it is wanted"
            )
            raise ModelBusy(f"model {model_id!r} cannot be unloaded: {why}")
        if entry.state is not ModelState.ABSENT:
            entry.doom = EvictReason.UNLOAD

    def expire(self, now: float, idle_s: float) -> None:
        """Have every model leave the device that nobody has used for `idle_s`."""
        for entry in self._entries.values():
            since = entry.loaded_at if entry.last_used is None else max(entry.loaded_at, entry.last_used)
            if entry.evictable and not self._wanted(entry.spec.model_id) and now - since >= idle_s:
                entry.doom = EvictReason.IDLE

    def evict_idle(self) -> None:
        """Have every model leave the device that nobody uses, because memory ran out."""
        for entry in self._entries.values():
            if entry.evictable:
                entry.doom = EvictReason.MEMORY

    def close(self, error: BaseException) -> None:
        """Fail all that wait, now and later, with `error`, and have everything leave as its leases end."""
        self._closed = error
        for entry in self._entries.values():
            entry.pinned = False

    # What was done

    def loaded(self, model_id: str, *, bytes_on_device: int, host_bytes: int = 0, seconds: float, now: float) -> None:
        """The load ended well; the measured bytes replace the estimate."""
        self._in_flight = None
        entry = self._entries[model_id]
        entry.placed(bytes_on_device=bytes_on_device, host_bytes=host_bytes, seconds=seconds, now=now)
        self._rank(entry)
        if host_bytes:
            self._host.touch(model_id, cost=entry.load_s, size=host_bytes)
        self._trim(entry)

    def load_failed(self, model_id: str, error: BaseException) -> None:
        """The load broke: whoever waits for it fails with `error`. A host copy is not trusted any more."""
        self._in_flight = None
        entry = self._entries[model_id]
        entry.gone(host_bytes=0)
        entry.retrying = False
        entry.error = str(error) or type(error).__name__
        for request in [each for each in self._waiting if each.model_id == model_id]:
            request.error = error

    def load_cancelled(self, model_id: str) -> None:
        """The load stopped because nobody waited; who has come since has it begin again."""
        self._in_flight = None
        entry = self._entries[model_id]
        entry.gone(entry.host_bytes)

    def load_out_of_memory(self, model_id: str, error: DeviceOutOfMemory) -> bool:
        """The device had no room. Evict everything idle and return True for one more attempt; then fail."""
        entry = self._entries[model_id]
        if entry.retrying:
            host_bytes = entry.host_bytes
            self.load_failed(model_id, error)
            entry.gone(host_bytes)
            return False
        self._in_flight = None
        entry.gone(entry.host_bytes)
        entry.retrying = True
        self.evict_idle()
        return True

    def evicted(self, model_id: str, *, host_bytes: int = 0) -> None:
        """The device reports the model's bytes free; `host_bytes` are kept in host memory."""
        assert isinstance(self._in_flight, Evict)
        entry = self._entries[model_id]
        self._device.forget(model_id, victim=self._in_flight.reason is EvictReason.ROOM)
        asked_meanwhile = entry.doom is EvictReason.UNLOAD and host_bytes > 0
        self._in_flight = None
        entry.gone(host_bytes)
        entry.doom = EvictReason.UNLOAD if asked_meanwhile else None
        if host_bytes:
            self._host.touch(model_id, cost=entry.load_s, size=host_bytes)

    def dropped(self, model_id: str) -> None:
        """The copy in host memory is gone."""
        self._in_flight = None
        entry = self._entries[model_id]
        self._host.forget(model_id, victim=entry.doom is None)
        entry.host_bytes = 0
        if entry.state is ModelState.HOST:
            entry.gone(host_bytes=0)

    # What follows

    def advance(self, now: float) -> Advance:
        """Grant and fail what can be, and begin the next action if none is under way."""
        settled = tuple(self._settle(now))
        if self._in_flight is None:
            self._in_flight = self._next_action()
            self._mark(self._in_flight)
            return Advance(settled, self._in_flight)
        return Advance(settled, None)

    def _settle(self, now: float) -> Iterator[Request]:
        for request in list(self._waiting):
            entry = self._entries[request.model_id]
            request.error = request.error or self._closed or self._impossible(entry)
            if request.error is not None:
                request.state = RequestState.FAILED
            elif entry.usable and self._footprints() <= self.budget_bytes and self._may_pass(request, entry):
                request.state = RequestState.GRANTED
                entry.leases += 1
                self._use(entry, now)
            else:
                continue
            self._waiting.remove(request)
            yield request

    def _may_pass(self, request: Request, entry: Entry) -> bool:
        """Count and bound the leases on a model that must leave for the first in line."""
        head = self._head()
        if head is None or request.arrival < head.arrival or entry not in self._victims(self._entries[head.model_id]):
            return True
        if head.bypassed >= self._max_bypass:
            return False
        head.bypassed += 1
        return True

    def _head(self) -> Request | None:
        """Return the first request whose model must be brought to the device and has no room reserved yet."""
        for request in self._waiting:
            entry = self._entries[request.model_id]
            if not entry.usable:
                return None if entry.state is ModelState.LOADING else request
        return None

    def _next_action(self) -> Action | None:
        for entry in self._entries.values():
            if (action := self._departure(entry)) is not None:
                return action
        if self.host_used_bytes > self.host_budget_bytes:
            return Drop(self._host_order()[0])
        if (head := self._head()) is not None:
            return self._make_way(self._entries[head.model_id])
        return None

    def _departure(self, entry: Entry) -> Action | None:
        """Return the action for a model that has to leave, whoever comes next."""
        reason = EvictReason.CLOSE if self._closed is not None else entry.doom
        if reason is None or entry.leases:
            return None
        if entry.state is ModelState.READY:
            return self._evict(entry, reason)
        if entry.state is ModelState.HOST:
            return Drop(entry.spec.model_id)
        return None

    def _make_way(self, entry: Entry) -> Action | None:
        victims = self._victims(entry)
        if any(victim.leases for victim in victims):
            return None
        if victims:
            return self._evict(victims[0], EvictReason.ROOM)
        if entry.footprint(self.budget_bytes) > self.budget_bytes - self._footprints():
            return None
        return Load(entry.spec.model_id, from_host=entry.host_bytes > 0)

    def _victims(self, entry: Entry) -> list[Entry]:
        """Return what must leave so that `entry` fits: idle models first, each time the cheapest to bring back."""
        missing = entry.footprint(self.budget_bytes) - (self.budget_bytes - self._footprints())
        chosen: list[Entry] = []
        for candidate in self._candidates(entry):
            if missing <= 0:
                break
            chosen.append(candidate)
            missing -= candidate.footprint(self.budget_bytes)
        for spared in reversed(chosen[:-1]):  # what a later, bigger one made unnecessary, the dearest first
            if missing + spared.footprint(self.budget_bytes) <= 0:
                missing += spared.footprint(self.budget_bytes)
                chosen.remove(spared)
        return chosen

    def _candidates(self, entry: Entry) -> list[Entry]:
        movable = [
            model_id
            for model_id, each in self._entries.items()
            if each is not entry and each.state is ModelState.READY and not each.pinned
        ]
        ordered = [self._entries[model_id] for model_id in self._device.order(movable)]
        return sorted(ordered, key=lambda each: each.leases > 0)

    def _evict(self, entry: Entry, reason: EvictReason) -> Action:
        """Evict, after making room in host memory if the weights are worth keeping there."""
        if reason in (EvictReason.UNLOAD, EvictReason.CLOSE):
            return Evict(entry.spec.model_id, reason, park=False)
        if entry.host_bytes:
            return Evict(entry.spec.model_id, reason, park=True)
        missing = entry.bytes - (self.host_budget_bytes - self.host_used_bytes)
        if missing <= 0:
            return Evict(entry.spec.model_id, reason, park=True)
        cheaper = [key for key in self._host_order() if self._host.outranks(entry.load_s, entry.bytes, key)]
        if sum(self._entries[key].host_bytes for key in cheaper) < missing:
            return Evict(entry.spec.model_id, reason, park=False)
        return Drop(cheaper[0])

    def _host_order(self) -> list[str]:
        return self._host.order([key for key, entry in self._entries.items() if entry.host_bytes])

    def _mark(self, action: Action | None) -> None:
        if isinstance(action, Load):
            self._entries[action.model_id].state = ModelState.LOADING
        elif isinstance(action, Evict):
            self._entries[action.model_id].state = ModelState.EVICTING

    def _trim(self, entry: Entry) -> None:
        """Have the cheapest idle models leave if a load broke the budget; the new one itself if that is not enough."""
        excess = self._footprints() - self.budget_bytes
        for victim in [*(each for each in self._candidates(entry) if each.evictable), entry]:
            if excess <= 0:
                return
            victim.doom = EvictReason.MEMORY
            excess -= victim.footprint(self.budget_bytes)

    def _impossible(self, entry: Entry) -> DeviceOutOfMemory | None:
        """Return the error for a model that cannot fit beside what is pinned, even on an otherwise empty device."""
        if entry.occupies:
            return None
        pinned = sum(
            each.footprint(self.budget_bytes)
            for each in self._entries.values()
            if each.pinned and each.occupies and each is not entry
        )
        wanted = entry.footprint(self.budget_bytes)
        if wanted <= self.budget_bytes - pinned:
            return None
        return DeviceOutOfMemory(wanted_bytes=wanted, free_bytes=max(0, self.budget_bytes - pinned))

    def _footprints(self) -> int:
        return sum(entry.footprint(self.budget_bytes) for entry in self._entries.values() if entry.occupies)

    def _wanted(self, model_id: str) -> int:
        return sum(request.model_id == model_id for request in self._waiting)

    def _use(self, entry: Entry, now: float) -> None:
        entry.last_used = now
        self._rank(entry)

    def _rank(self, entry: Entry) -> None:
        comes_back_by_copy = entry.bytes <= self.host_budget_bytes
        cost = entry.restore_s if comes_back_by_copy else entry.load_s
        self._device.touch(entry.spec.model_id, cost=cost, size=entry.bytes)
