"""One model's line in the ledger."""

from dataclasses import dataclass, field

from servekit.residency.models import EvictReason, ModelSpec, ModelState, ModelStatus

HOST_COPY_BYTES_PER_S = 10e9
"""Assumed speed of a copy from host memory until the first one is measured."""

_WEAKEST_FIRST = (None, EvictReason.ROOM, EvictReason.IDLE, EvictReason.MEMORY, EvictReason.UNLOAD, EvictReason.CLOSE)


@dataclass(eq=False, slots=True)
class Entry:
    """Sizes in bytes, times in seconds. `state` is one of ABSENT, LOADING, READY, EVICTING, HOST."""

    spec: ModelSpec
    bytes: int = field(init=False)
    loaded_bytes: int = field(init=False)
    """What it weighed when it was last loaded: what it has taken on since, it leaves behind."""
    load_s: float = field(init=False)
    restore_s: float = field(init=False)
    measured: bool = False
    state: ModelState = ModelState.ABSENT
    host_bytes: int = 0
    leases: int = 0
    pinned: bool = False
    doom: EvictReason | None = None
    """Set on what must leave as soon as the device is free to do it; it takes no new lease."""
    retrying: bool = False
    loaded_at: float = 0.0
    last_used: float | None = None
    error: str = ""

    def __post_init__(self) -> None:
        self.bytes = self.loaded_bytes = self.spec.bytes
        self.load_s = self.spec.load_s
        self.restore_s = self.spec.bytes / HOST_COPY_BYTES_PER_S

    @property
    def usable(self) -> bool:
        """On the device and staying."""
        return self.state is ModelState.READY and self.doom is None

    @property
    def evictable(self) -> bool:
        """On the device, used by nobody and not pinned."""
        return self.state is ModelState.READY and not self.leases and not self.pinned

    @property
    def leaving(self) -> bool:
        """On its way off the device, or about to be."""
        doomed = self.state is ModelState.READY and self.doom is not None and not self.leases
        return doomed or self.state is ModelState.EVICTING

    @property
    def occupies(self) -> bool:
        """True while any of its bytes may be on the device."""
        return self.state in (ModelState.LOADING, ModelState.READY, ModelState.EVICTING)

    @property
    def next_load_s(self) -> float:
        """Seconds until it could be used if its load began now."""
        if self.state is ModelState.READY:
            return 0.0
        return self.restore_s if self.host_bytes else self.load_s

    def footprint(self, budget_bytes: int) -> int:
        """Bytes of the budget it takes: all of it if nothing else may be there."""
        return max(self.bytes, budget_bytes) if self.spec.exclusive else self.bytes

    def placed(self, *, bytes_on_device: int, host_bytes: int, seconds: float, now: float) -> None:
        """Note a finished load and replace the estimates by what was measured."""
        if self.host_bytes:
            self.restore_s = seconds
        else:
            self.load_s = seconds
        self.bytes = self.loaded_bytes = bytes_on_device
        self.host_bytes = host_bytes
        self.measured = True
        self.state = ModelState.READY
        self.retrying = False
        self.loaded_at = now
        self.error = ""

    def must_leave(self, reason: EvictReason) -> None:
        """Have it leave as soon as the device is free to do it; a stronger reason that it has already stays."""
        self.doom = max(self.doom, reason, key=_WEAKEST_FIRST.index)

    def gone(self, host_bytes: int) -> None:
        """Note that it is off the device; if it was to unload, a copy in host memory has to leave yet."""
        self.host_bytes = host_bytes
        self.bytes = self.loaded_bytes
        self.state = ModelState.HOST if host_bytes else ModelState.ABSENT
        if not (host_bytes and self.doom is EvictReason.UNLOAD):
            self.doom = None

    def status(self, *, waiting: int, fraction: float, now: float) -> ModelStatus:
        """Return a snapshot; `waiting` requests want it."""
        return ModelStatus(
            model_id=self.spec.model_id,
            state=self._shown_state(waiting),
            bytes=self.bytes,
            measured=self.measured,
            host_bytes=self.host_bytes,
            leases=self.leases,
            waiting=waiting,
            pinned=self.pinned,
            exclusive=self.spec.exclusive,
            fraction=fraction if self.state is ModelState.LOADING else 0.0,
            load_s=self.load_s,
            idle_s=None if self.last_used is None else max(0.0, now - self.last_used),
            error=self.error,
        )

    def _shown_state(self, waiting: int) -> ModelState:
        if self.state in (ModelState.ABSENT, ModelState.HOST) and waiting:
            return ModelState.QUEUED
        if self.state is ModelState.ABSENT and self.error:
            return ModelState.FAILED
        return self.state
