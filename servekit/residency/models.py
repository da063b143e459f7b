"""The words of residency: what a model weighs and costs, where its weights are, and what can be asked of it."""

from dataclasses import dataclass
from enum import Enum

from servekit.errors import NotFound, PreconditionFailed


class UnknownModel(NotFound):
    """No model of this catalog has this id."""

    reason = "UNKNOWN_MODEL"


class ModelBusy(PreconditionFailed):
    """The model is in use or pinned, so it cannot be unloaded."""

    reason = "FAILED_PRECONDITION"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What is known of a model before its first load. Both figures are replaced by measured ones after it."""

    model_id: str
    bytes: int
    """Estimated bytes on the device."""
    load_s: float = 10.0
    """Estimated seconds to load from disk."""
    exclusive: bool = False
    """True if nothing else may be on the device with it."""


class ModelState(Enum):
    """Where a model's weights are."""

    ABSENT = "absent"
    QUEUED = "queued"
    LOADING = "loading"
    READY = "ready"
    EVICTING = "evicting"
    HOST = "host"
    FAILED = "failed"
    """Absent, and the last load failed."""


class EvictReason(Enum):
    """Why a model left the device."""

    ROOM = "room"
    """Another model needed its bytes."""
    IDLE = "idle"
    """Nobody used it for the idle timeout."""
    UNLOAD = "unload"
    """Somebody asked."""
    MEMORY = "memory"
    """The device ran out of memory, or the measured size broke the budget."""
    CLOSE = "close"
    """The server stops."""


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One model at one moment."""

    model_id: str
    state: ModelState
    bytes: int
    """Bytes on the device when loaded."""
    measured: bool
    """True if `bytes` and `load_s` were measured."""
    host_bytes: int
    """Bytes kept in host memory; 0 if none."""
    leases: int
    """Users now."""
    waiting: int
    """Requests waiting for it."""
    pinned: bool
    exclusive: bool
    fraction: float
    """Share loaded, 0 to 1, while loading."""
    load_s: float
    """Seconds the next load will take: measured, or estimated before the first."""
    idle_s: float | None
    """Seconds since its last use; None if never used."""
    error: str
    """Why the last load failed; empty otherwise."""

    @property
    def device_bytes(self) -> int:
        """Bytes of the device it takes now, 0 if it is elsewhere."""
        there = self.state in (ModelState.LOADING, ModelState.READY, ModelState.EVICTING)
        return self.bytes if there else 0


@dataclass(frozen=True, slots=True)
class ResidencyStatus:
    """Every model and the memory at one moment. All sizes in bytes."""

    budget_bytes: int
    used_bytes: int
    host_budget_bytes: int
    host_used_bytes: int
    models: tuple[ModelStatus, ...]

    def model(self, model_id: str) -> ModelStatus:
        """Return one model of the snapshot."""
        return next(each for each in self.models if each.model_id == model_id)
