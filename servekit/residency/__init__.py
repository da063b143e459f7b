"""Which models are on the device: a byte ledger with leases, pins, cost-aware eviction and a host-memory tier."""

from servekit.residency.actions import Action, Advance, Drop, Evict, Load, Request, RequestState
from servekit.residency.events import LoadFailed, ModelEvicted, ModelLoaded, OutOfMemory, ResidencyEvent
from servekit.residency.ledger import Ledger
from servekit.residency.loader import HostTier, Loaded, Loader, OnProgress
from servekit.residency.manager import Lease, Residency
from servekit.residency.models import (
    EvictReason,
    ModelBusy,
    ModelSpec,
    ModelState,
    ModelStatus,
    ResidencyStatus,
    UnknownModel,
)
from servekit.residency.ranking import Ranking, ReuseRate

__all__ = [
    "Action",
    "Advance",
    "Drop",
    "Evict",
    "EvictReason",
    "HostTier",
    "Lease",
    "Ledger",
    "Load",
    "LoadFailed",
    "Loaded",
    "Loader",
    "ModelBusy",
    "ModelEvicted",
    "ModelLoaded",
    "ModelSpec",
    "ModelState",
    "ModelStatus",
    "OnProgress",
    "OutOfMemory",
    "Ranking",
    "Request",
    "RequestState",
    "Residency",
    "ResidencyEvent",
    "ResidencyStatus",
    "ReuseRate",
    "UnknownModel",
]
