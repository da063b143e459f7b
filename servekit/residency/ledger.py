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
from dataclasses import replace
from itertools import count

from servekit.errors import DeviceOutOfMemory
from servekit.residency.actions import Action, Advance, Drop, Evict, Load, Request, RequestState
from servekit.residency.entry import Entry
from servekit.residency.models import EvictReason, ModelBusy, ModelSpec, ModelState, ResidencyStatus
from servekit.residency.ranking import Ranking, ReuseRate
from servekit.residency.room import Room


class Ledger:
    """Bytes of one device (`budget_bytes`) and of the host-memory tier (`host_budget_bytes`, 0 for none)."""

    def __init__(
        self,
        specs: Iterable[ModelSpec],
        *,
        budget_bytes: int,
        host_budget_bytes: int = 0,
        max_bypass: int = 8,
        ranking: Ranking | None = None,
    ) -> None:
        self.room = Room(specs, budget_bytes, host_budget_bytes, ranking or ReuseRate())
        self._entries = self.room.entries
        self._waiting: list[Request] = []
        self._in_flight: Action | None = None
        self._max_bypass = max_bypass
        self._arrivals = count()
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
            budget_bytes=self.room.budget_bytes,
            used_bytes=self.room.used_bytes,
            host_budget_bytes=self.room.host_budget_bytes,
            host_used_bytes=self.room.host_used_bytes,
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
        entry.last_used = now

    def pin(self, model_id: str, pinned: bool) -> None:
        """Set or clear a pin; does not load. A pin keeps what was about to leave.

        If the device is over budget others leave instead, and the pinned model if nothing else helps.
        """
        entry = self._entries[model_id]
        entry.pinned = pinned
        if pinned and entry.doom is not None:
            entry.doom = None
            if entry.usable:
                self._keep_to_budget(entry)

    def unload(self, model_id: str) -> None:
        """Have a model leave device and host. Raises ModelBusy if it is leased, pinned or waited for."""
        entry = self._entries[model_id]
        if why := self._busy(entry):
            raise ModelBusy(f"model {model_id!r} cannot be unloaded: {why}")
        if entry.state is not ModelState.ABSENT:
            entry.must_leave(EvictReason.UNLOAD)

    def expire(self, now: float, idle_s: float) -> None:
        """Have every model leave the device that nobody has used for `idle_s`."""
        for entry in self._entries.values():
            since = entry.loaded_at if entry.last_used is None else max(entry.loaded_at, entry.last_used)
            if entry.evictable and not self._wanted(entry.spec.model_id) and now - since >= idle_s:
                entry.must_leave(EvictReason.IDLE)

    def evict_idle(self) -> None:
        """Have every model leave the device that nobody uses, because memory ran out."""
        for entry in self._entries.values():
            if entry.evictable:
                entry.must_leave(EvictReason.MEMORY)

    def close(self, error: BaseException) -> None:
        """Fail all that wait, now and later, with `error`, and have everything leave as its leases end."""
        self._closed = error
        for entry in self._entries.values():
            entry.pinned = False

    # What was done

    def loaded(self, model_id: str, *, bytes_on_device: int, host_bytes: int = 0, seconds: float, now: float) -> None:
        """The load ended well; the measured bytes replace the estimate."""
        entry = self._done(model_id)
        entry.placed(bytes_on_device=bytes_on_device, host_bytes=host_bytes, seconds=seconds, now=now)
        self._keep_to_budget(entry)

    def resized(self, model_id: str, bytes_on_device: int) -> None:
        """A model on the device was measured anew: it took on adapters, or gave them up."""
        entry = self._entries[model_id]
        if entry.state is ModelState.READY:
            entry.bytes = bytes_on_device
            self._keep_to_budget(entry)

    def load_failed(self, model_id: str, error: BaseException, *, keep_host_copy: bool = False) -> None:
        """The load broke: whoever waits for it fails with `error`."""
        entry = self._done(model_id)
        entry.gone(entry.host_bytes if keep_host_copy else 0)
        entry.retrying = False
        entry.error = str(error) or type(error).__name__
        for request in self._waiting:
            if request.model_id == model_id:
                request.error = error

    def load_cancelled(self, model_id: str) -> None:
        """The load stopped because nobody waited; for whoever has come since it begins again."""
        entry = self._done(model_id)
        entry.gone(entry.host_bytes)

    def load_out_of_memory(self, model_id: str, error: DeviceOutOfMemory) -> bool:
        """The device had no room. Evict everything idle and return True for one more attempt; then fail."""
        if self._entries[model_id].retrying:
            self.load_failed(model_id, error, keep_host_copy=True)
            return False
        entry = self._done(model_id)
        entry.gone(entry.host_bytes)
        entry.retrying = self._wanted(model_id) > 0
        self.evict_idle()
        return True

    def evicted(self, model_id: str, reason: EvictReason, *, host_bytes: int = 0) -> None:
        """The device reports the model's bytes free; `host_bytes` are kept in host memory."""
        self._done(model_id).gone(host_bytes)

    def dropped(self, model_id: str) -> None:
        """The copy in host memory is gone."""
        entry = self._done(model_id)
        entry.host_bytes = 0
        if entry.state is ModelState.HOST:
            entry.gone(host_bytes=0)

    # What follows

    def advance(self, now: float) -> Advance:
        """Grant and fail what can be, and begin the next action if none is under way."""
        self._keep_what_fits_again()
        settled = tuple(self._settle(now))
        if self._in_flight is None:
            self._in_flight = self._next_action()
            self._mark(self._in_flight)
            return Advance(settled, self._in_flight)
        return Advance(settled, None)

    def _keep_what_fits_again(self) -> None:
        """Let stay what had to leave for a lack of room that has passed, if it is pinned or in use."""
        doomed = [entry for entry in self._entries.values() if entry.doom is EvictReason.MEMORY]
        if not doomed or self.room.free_bytes < 0:
            return
        for entry in doomed:
            if entry.state is ModelState.READY and (entry.pinned or entry.leases):
                entry.doom = None

    def _settle(self, now: float) -> Iterator[Request]:
        for request in list(self._waiting):
            entry = self._entries[request.model_id]
            request.error = request.error or self._closed or self.room.impossible(entry)
            if request.error is not None:
                request.state = RequestState.FAILED
            elif entry.usable and self.room.free_bytes >= 0 and self._may_pass(request, entry):
                request.state = RequestState.GRANTED
                entry.leases += 1
                entry.last_used = now
                self.room.used(entry)
            else:
                continue
            self._waiting.remove(request)
            yield request

    def _may_pass(self, request: Request, entry: Entry) -> bool:
        """Count and bound the leases on a model that must leave for the first in line."""
        head = self._head()
        if head is None or request.arrival < head.arrival:
            return True
        if entry not in self.room.victims(self._entries[head.model_id]):
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
        if self.room.host_used_bytes > self.room.host_budget_bytes:
            return Drop(self.room.host_order()[0])
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
        if entry.occupies:  # it is to leave first, and to come again
            return None
        victims = self.room.victims(entry)
        if any(victim.leases for victim in victims):
            return None
        if victims:
            return self._evict(victims[0], EvictReason.ROOM, wanted_by=entry.spec.model_id)
        if self.room.missing_for(entry) > 0:
            return None
        return Load(entry.spec.model_id, from_host=entry.host_bytes > 0)

    def _evict(self, entry: Entry, reason: EvictReason, wanted_by: str = "") -> Action:
        action = self.room.eviction(entry, reason, spare={request.model_id for request in self._waiting})
        return replace(action, wanted_by=wanted_by) if isinstance(action, Evict) else action

    def _keep_to_budget(self, heavier: Entry) -> None:
        for victim in self.room.overweight(heavier):
            victim.must_leave(EvictReason.MEMORY)

    def _mark(self, action: Action | None) -> None:
        if isinstance(action, Load):
            self._entries[action.model_id].state = ModelState.LOADING
        elif isinstance(action, Evict):
            self._entries[action.model_id].state = ModelState.EVICTING

    def _done(self, model_id: str) -> Entry:
        self._in_flight = None
        return self._entries[model_id]

    def _busy(self, entry: Entry) -> str:
        if entry.leases:
            return f"{entry.leases} requests use it"
        if entry.pinned:
            return "it is pinned"
        return "requests wait for it" if entry.occupies and self._wanted(entry.spec.model_id) else ""

    def _wanted(self, model_id: str) -> int:
        return sum(request.model_id == model_id for request in self._waiting)
