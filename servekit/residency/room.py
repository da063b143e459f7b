"""What fits where, and what to give up for it: the sizes behind the ledger."""

from collections.abc import Collection, Iterable

from servekit.errors import DeviceOutOfMemory
from servekit.residency.actions import Drop, Evict
from servekit.residency.entry import Entry
from servekit.residency.greedy_dual import GreedyDual
from servekit.residency.models import EvictReason, ModelSpec, ModelState


class Room:
    """The models' sizes against the budgets of the device and of the host-memory tier, in bytes."""

    def __init__(self, specs: Iterable[ModelSpec], budget_bytes: int, host_budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.host_budget_bytes = host_budget_bytes
        self.entries = {spec.model_id: Entry(spec) for spec in specs}
        self._device = GreedyDual()
        self._host = GreedyDual()

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
        comes_back_by_copy = entry.bytes <= self.host_budget_bytes
        cost = entry.restore_s if comes_back_by_copy else entry.load_s
        self._device.touch(entry.spec.model_id, cost=cost, size=entry.bytes)

    def kept_in_host(self, entry: Entry) -> None:
        """Note a copy in host memory."""
        if entry.host_bytes:
            self._host.touch(entry.spec.model_id, cost=entry.load_s, size=entry.host_bytes)

    def left_device(self, entry: Entry, *, for_room: bool) -> None:
        """Forget a model that is off the device."""
        self._device.forget(entry.spec.model_id, victim=for_room)

    def left_host(self, entry: Entry, *, for_room: bool) -> None:
        """Forget a copy that is gone from host memory."""
        self._host.forget(entry.spec.model_id, victim=for_room)

    def missing_for(self, entry: Entry) -> int:
        """Return the bytes that must become free before a model can be loaded; 0 or less if it fits."""
        return entry.footprint(self.budget_bytes) - self.free_bytes

    def victims(self, entry: Entry) -> list[Entry]:
        """Return what must leave so that `entry` fits: idle models first, each time the cheapest to bring back."""
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
        """Return what must leave because `entry` came heavier than the budget allows: itself if nothing else helps."""
        missing = -self.free_bytes
        chosen: list[Entry] = []
        for candidate in [*(each for each in self._movable(entry) if not each.leases), entry]:
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
        cheaper = [
            key for key in self.host_order() if key not in spare and self._host.outranks(entry.load_s, entry.bytes, key)
        ]
        if sum(self.entries[key].host_bytes for key in cheaper) < missing:
            return Evict(model_id, reason, park=False)
        return Drop(cheaper[0])

    def host_order(self) -> list[str]:
        """Return the models with a copy in host memory, the first to give up in front."""
        return self._host.order([key for key, entry in self.entries.items() if entry.host_bytes])

    def _movable(self, entry: Entry) -> list[Entry]:
        """Return all others on the device that are not pinned: idle before leased, the cheapest first."""
        keys = [
            model_id
            for model_id, each in self.entries.items()
            if each is not entry and each.state is ModelState.READY and not each.pinned
        ]
        ordered = [self.entries[model_id] for model_id in self._device.order(keys)]
        return sorted(ordered, key=lambda each: each.leases > 0)
