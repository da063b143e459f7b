from typing import Any

import pytest

from services.router import place
from services.router.domain import Model, Replica, Weights

MODELS = {"a": Model("a")}


def replica(name: str, weights: Weights | None = Weights.READY, **facts: Any) -> Replica:
    held = {} if weights is None else {"a": weights}
    return Replica(name, **{"models": MODELS, "weights": held, **facts})


@pytest.mark.parametrize(
    ("weights", "expected"),
    [(Weights.READY, 1.0), (Weights.LOADING, 0.6), (Weights.HOST, 0.5), (Weights.UNLOADED, 0.25), (None, 0.1)],
)
def test_readiness_falls_with_the_distance_of_the_weights(weights: Weights | None, expected: float) -> None:
    assert place.readiness(replica("r", weights), "a") == expected


def test_ten_seconds_of_queue_halve_readiness() -> None:
    assert place.readiness(replica("r", queue_eta_s=10.0), "a") == 0.5


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (replica("x"), replica("y", Weights.UNLOADED)),
        (replica("x"), replica("y", queue_eta_s=20.0)),
        (replica("x"), replica("y", in_flight=1)),
        (replica("x", Weights.UNLOADED, free_share=0.9), replica("y", Weights.UNLOADED, free_share=0.1)),
        (replica("x"), replica("y", serving=False)),
        (replica("x", Weights.UNLOADED, queue_eta_s=60.0, in_flight=9), replica("y", answering=False)),
        (replica("x", Weights.UNLOADED), replica("y", models={})),
    ],
    ids=["resident", "queue", "own-requests", "room", "healthy", "answers", "has-the-model"],
)
def test_the_better_replica_is_picked(better: Replica, worse: Replica) -> None:
    assert place.pick([worse, better], "a") is better


def test_a_lost_replica_is_not_picked_again() -> None:
    first, second = replica("first"), replica("second", Weights.UNLOADED)

    assert place.pick([first, second], "a", without=["first"]) is second


def test_nothing_is_picked_where_nothing_can_serve() -> None:
    assert place.pick([replica("r", serving=False)], "a") is None


def test_a_model_is_as_ready_as_at_its_best_replica() -> None:
    assert place.best_readiness([replica("x", Weights.UNLOADED), replica("y", Weights.HOST)], "a") == 0.5
