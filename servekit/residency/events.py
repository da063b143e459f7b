"""What happened to a model, for metrics and logs."""

from dataclasses import dataclass

from servekit.residency.models import EvictReason


@dataclass(frozen=True, slots=True)
class ModelLoaded:
    """A model came to the device, in `seconds`, and weighs `bytes` as measured."""

    model_id: str
    seconds: float
    bytes: int
    from_host: bool


@dataclass(frozen=True, slots=True)
class ModelEvicted:
    """A model left the device `age_s` seconds after it came; `host_bytes` are kept in host memory.

    `wanted_by` is the model that needed the room; empty if it left for another reason.
    """

    model_id: str
    reason: EvictReason
    seconds: float
    bytes: int
    age_s: float
    host_bytes: int
    wanted_by: str = ""


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """A load ended without a model. `cancelled` if because nobody waited any more."""

    model_id: str
    seconds: float
    error: BaseException
    cancelled: bool


@dataclass(frozen=True, slots=True)
class OutOfMemory:
    """The device had no room for a load, though the ledger had."""

    model_id: str
    wanted_bytes: int
    free_bytes: int
    will_retry: bool


ResidencyEvent = ModelLoaded | ModelEvicted | LoadFailed | OutOfMemory
