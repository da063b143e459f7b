import pytest

from bench._soak.__main__ import scenarios
from bench._soak.load import next_due
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


def test_a_late_answer_is_made_up_for() -> None:
    assert next_due(10.0, 1.0, now=12.5) == 11.0


def test_an_outage_is_not() -> None:
    assert next_due(10.0, 1.0, now=70.0) == 65.0


def test_who_asked_often_during_an_outage_does_not_wait_for_it_afterwards() -> None:
    assert next_due(100.0, 1.0, now=20.0) == 21.0


def test_without_a_rate_the_next_question_comes_at_once() -> None:
    assert next_due(10.0, 0.0, now=10.5) <= 10.5
