"""What fits where, and what to give up for it: the sizes behind the ledger."""

from collections.abc import Collection, Iterable

from servekit.errors import DeviceOutOfMemory
from servekit.residency.actions import Drop, Evict
from servekit.residency.entry import Entry
from servekit.residency.models import EvictReason, ModelSpec, ModelState
from servekit.residency.ranking import Ranking


class Room:
    """The models' sizes against the budgets of the device and of the host-memory tier, in bytes."""

    def __init__(self, specs: Iterable[ModelSpec], budget_bytes: int, host_budget_bytes: int, ranking: Ranking) -> None:
        self.budget_bytes = budget_bytes
        self.host_budget_bytes = host_budget_bytes
        self.entries = {spec.model_id: Entry(spec) for spec in specs}
        self._ranking = ranking

    @property
    def used_bytes(self) -> int:
        """Bytes on the device, on their way to it or from it, as far as known."""
        return sum(entry.bytes for entry in self.entries.values() if entry.occupies)

    @property
    def host_used_bytes(self) -> int:
        """Bytes of copies in host memory."""
        return sum(entry.host_bytes for entry in self.entries.values())

    @property
    def free_bytes(self) -> int:
        """Bytes of the budget not taken; an exclusive model takes all. Negative after a load heavier than expected."""
        taken = sum(entry.footprint(self.budget_bytes) for entry in self.entries.values() if entry.occupies)
        return self.budget_bytes - taken

    def used(self, entry: Entry) -> None:
        """Note that a use of a model begins. Not its end: whoever is chosen to leave must not be spared for leaving."""
        self._ranking.touch(entry.spec.model_id)

    def missing_for(self, entry: Entry) -> int:
        """Return the bytes that must become free before a model can be loaded; 0 or less if it fits."""
        return entry.footprint(self.budget_bytes) - self.free_bytes

    def victims(self, entry: Entry) -> list[Entry]:
        """Return what must leave so that `entry` fits: idle models first, each time the one of least worth."""
        missing = self.missing_for(entry)
        chosen: list[Entry] = []
        for candidate in self._movable(entry):
            if missing <= 0:
                break
            chosen.append(candidate)
            missing -= candidate.footprint(self.budget_bytes)
        for spared in reversed(chosen[:-1]):  # what a later, bigger one made unnecessary, the dearest first
            if missing + spared.footprint(self.budget_bytes) <= 0:
                missing += spared.footprint(self.budget_bytes)
                chosen.remove(spared)
        return chosen

    def overweight(self, entry: Entry) -> list[Entry]:
        """Return what must leave, besides what leaves already, so that the budget holds.

        Idle models first; `entry`, which is heavier than expected or was to leave, if nothing else helps.
        """
        leaving = [each for each in self.entries.values() if each.leaving]
        missing = -self.free_bytes - sum(each.footprint(self.budget_bytes) for each in leaving)
        chosen: list[Entry] = []
        for candidate in [*(each for each in self._movable(entry) if each.usable and not each.leases), entry]:
            if missing <= 0:
                break
            chosen.append(candidate)
            missing -= candidate.footprint(self.budget_bytes)
        return chosen

    def impossible(self, entry: Entry) -> DeviceOutOfMemory | None:
        """Return the error for an absent model that cannot fit beside what is pinned, were the rest empty."""
        if entry.occupies:
            return None
        pinned = sum(
            each.footprint(self.budget_bytes)
            for each in self.entries.values()
            if each.pinned and each.occupies and each is not entry
        )
        wanted, free = entry.footprint(self.budget_bytes), max(0, self.budget_bytes - pinned)
        return DeviceOutOfMemory(wanted_bytes=wanted, free_bytes=free) if wanted > free else None

    def eviction(self, entry: Entry, reason: EvictReason, spare: Collection[str]) -> Evict | Drop:
        """Return how to evict a model: a `Drop` first if its weights are worth more in host memory than others there.

        Copies of the models in `spare` are not dropped.
        """
        model_id = entry.spec.model_id
        if reason in (EvictReason.UNLOAD, EvictReason.CLOSE):
            return Evict(model_id, reason, park=False)
        missing = 0 if entry.host_bytes else entry.bytes - (self.host_budget_bytes - self.host_used_bytes)
        if missing <= 0:
            return Evict(model_id, reason, park=True)
        worth = self._worth_in_host(entry, parked=True)
        cheaper = [
            key for key in self.host_order() if key not in spare and self._worth_in_host(self.entries[key]) < worth
        ]
        if sum(self.entries[key].host_bytes for key in cheaper) < missing:
            return Evict(model_id, reason, park=False)
        return Drop(cheaper[0])

    def host_order(self) -> list[str]:
        """Return the models with a copy in host memory, the first to give up in front."""
        held = [entry for entry in self.entries.values() if entry.host_bytes]
        return [entry.spec.model_id for entry in sorted(held, key=self._worth_in_host)]

    def _worth_on_device(self, entry: Entry) -> float:
        """Return what staying saves: a copy from host memory if there is one to come back from, else a load."""
        cost_s = entry.restore_s if entry.host_bytes else entry.load_s
        return self._ranking.worth(entry.spec.model_id, cost_s=cost_s, size=entry.bytes)

    def _worth_in_host(self, entry: Entry, *, parked: bool = False) -> float:
        """Return what a copy saves: a load, or the copying back while (and unless `parked`) it is on the device too."""
        on_device = entry.occupies and not parked
        cost_s = entry.restore_s if on_device else max(0.0, entry.load_s - entry.restore_s)
        return self._ranking.worth(entry.spec.model_id, cost_s=cost_s, size=entry.bytes)

    def _movable(self, entry: Entry) -> list[Entry]:
        """Return all others on the device that are not pinned: idle before leased, those of least worth first."""
        movable = [
            each
            for each in self.entries.values()
            if each is not entry and each.state is ModelState.READY and not each.pinned
        ]
        return sorted(movable, key=lambda each: (each.leases > 0, self._worth_on_device(each)))
