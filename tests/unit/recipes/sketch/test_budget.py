"""Training budgets: progress by time or by steps, and a learning rate that follows."""

import pytest

from recipes.sketch.budget import Budget


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_progress_follows_the_clock() -> None:
    clock = Clock()
    budget = Budget(minutes=2, clock=clock)
    clock.now = 30
    assert budget.progress == pytest.approx(0.25)


def test_progress_follows_the_steps_where_they_are_further() -> None:
    budget = Budget(minutes=2, steps=10, clock=Clock())
    budget.step = 5
    assert budget.progress == pytest.approx(0.5)


def test_progress_ends_at_one() -> None:
    clock = Clock()
    budget = Budget(minutes=1, clock=clock)
    clock.now = 1000
    assert budget.progress == 1.0


def test_time_of_an_earlier_run_counts() -> None:
    budget = Budget(minutes=2, spent=60, clock=Clock())
    assert budget.progress == pytest.approx(0.5)


def test_the_learning_rate_warms_up_and_ends_at_zero() -> None:
    budget = Budget(steps=1000, clock=Clock())
    rates = []
    for step in (0, 100, 200, 500, 1000):
        budget.step = step
        rates.append(budget.learning_rate(1.0, warmup_steps=200))
    assert rates[0] < rates[1] < rates[2]
    assert rates[2] > rates[3] > rates[4]
    assert rates[4] == pytest.approx(0.0, abs=1e-9)
