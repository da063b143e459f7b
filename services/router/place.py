"""Which replica takes a request: filters, then scorers, then a pick. Pure."""

from collections.abc import Callable, Collection, Sequence

from services.router.domain import Replica, Weights

_HEAD_START = {Weights.READY: 1.0, Weights.LOADING: 0.6, Weights.HOST: 0.5, Weights.UNLOADED: 0.25}
"""How near weights are to work, 0 to 1; a model that is not listed (its last load failed) is at 0.1."""
_FAILED = 0.1
_QUEUE_HALF_S = 10.0
"""Seconds of queue that halve readiness."""

Scorer = Callable[[Replica, str], float]


def readiness(replica: Replica, model: str) -> float:
    """Return how soon `model` could start there, 0 to 1; 1 for a loaded model with an empty queue."""
    weights = replica.weights.get(model)
    near = _FAILED if weights is None else _HEAD_START[weights]
    return near / (1.0 + replica.queue_eta_s / _QUEUE_HALF_S)


def _idle(replica: Replica, _model: str) -> float:
    return 1.0 / (1.0 + replica.in_flight)


def _room(replica: Replica, model: str) -> float:
    return 1.0 if replica.weights.get(model) is Weights.READY else replica.free_share


_SCORERS: tuple[tuple[float, Scorer], ...] = ((1.0, readiness), (0.3, _idle), (0.1, _room))
"""Weights and scorers. `_idle` counts this router's own requests, which the last status does not know of yet."""


def able(replicas: Sequence[Replica], model: str, without: Collection[str] = ()) -> list[Replica]:
    """Return the replicas that serve and have `model` in their catalog, except `without`."""
    return [each for each in replicas if each.serving and each.name not in without and model in each.models]


def pick(replicas: Sequence[Replica], model: str, without: Collection[str] = ()) -> Replica | None:
    """Return the best replica for `model` that is not one of `without`; None if there is none.

    One that does not answer is taken only if no other can.
    """
    return max(able(replicas, model, without), key=lambda each: (each.answering, _total(each, model)), default=None)


def idlest(replicas: Sequence[Replica]) -> str:
    """Return the name of the replica to ask what any could answer; there must be one that serves."""
    return min((each for each in replicas if each.serving), key=lambda each: (not each.answering, each.in_flight)).name


def _total(replica: Replica, model: str) -> float:
    return sum(weight * score(replica, model) for weight, score in _SCORERS)


def best_readiness(replicas: Sequence[Replica], model: str) -> float:
    """Return how soon `model` could start anywhere, 0 to 1."""
    return max((readiness(each, model) for each in able(replicas, model)), default=0.0)
