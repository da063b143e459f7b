import pytest

from bench._soak.__main__ import scenarios
from bench._soak.memory import slope


def test_memory_that_grows_steadily_has_that_slope() -> None:
    assert slope([(float(at), 1000 + 5 * at) for at in range(100)]) == pytest.approx(5)


def test_memory_that_stays_has_none() -> None:
    assert slope([(float(at), 1000) for at in range(100)]) == 0


def test_warming_up_is_no_leak() -> None:
    samples = [(float(at), min(at, 20) * 1000) for at in range(100)]
    assert slope(samples) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("samples", [[], [(0.0, 1)]])
def test_too_few_samples_say_nothing(samples: list[tuple[float, int]]) -> None:
    assert slope(samples) == 0


def test_the_replicas_come_last_since_they_stay() -> None:
    assert next(iter(scenarios(1))) == "steady"
    assert list(scenarios(1))[-1] == "rolling-restart"
