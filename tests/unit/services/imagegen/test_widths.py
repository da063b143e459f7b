from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.imagegen.widths import ENOUGH, FORGET_AFTER, Widths


def settled(seconds: Callable[[int], float], most: int = 16, steps: int = 200) -> Widths:
    """Return the widths after many full batches whose step takes `seconds(width)`."""
    widths = Widths(most)
    for _ in range(steps):
        width = widths.limit("key")
        widths.record("key", width, seconds(width))
    return widths


def crowd(widths: Widths, seconds: Callable[[int], float]) -> None:
    """Let a batch grow from one picture on."""
    for width in range(1, 17):
        for _ in range(ENOUGH):
            widths.record("key", width, seconds(width))


def test_nothing_measured_is_no_limit() -> None:
    assert Widths(8).limit("key") == 8


@pytest.mark.parametrize("seconds", [lambda width: 1.0, lambda width: 1.0 + 0.1 * width, lambda width: 1.0 * width])
def test_batches_that_pay_or_cost_nothing_stay_wide(seconds: Callable[[int], float]) -> None:
    widths = Widths(16)
    crowd(widths, seconds)

    assert widths.limit("key") == 16


def test_batches_that_slow_everybody_down_are_narrowed() -> None:
    widths = Widths(16)
    crowd(widths, lambda width: 1.0 if width <= 4 else width * 1.0)

    assert widths.limit("key") == 4


def test_one_slow_step_is_not_believed() -> None:
    widths = Widths(16)
    for _ in range(ENOUGH):
        widths.record("key", 1, 1.0)
    widths.record("key", 16, 1000.0)

    assert widths.limit("key") == 16


def test_kinds_of_pictures_are_apart() -> None:
    widths = Widths(16)
    crowd(widths, lambda width: width**2)

    assert (widths.limit("key"), widths.limit("other")) == (1, 16)


def test_after_a_while_everything_is_measured_anew() -> None:
    widths = Widths(16)
    crowd(widths, lambda width: width**2)
    for _ in range(FORGET_AFTER):
        widths.record("key", 1, 1.0)

    assert widths.limit("key") == 16


def test_what_does_not_fit_is_halved_for_good() -> None:
    widths = Widths(16)
    widths.does_not_fit(12)

    assert widths.limit("key") == 6


@given(st.lists(st.tuples(st.integers(1, 16), st.floats(0.001, 10)), max_size=200), st.integers(1, 16))
def test_a_limit_is_always_between_one_and_the_most(steps: list[tuple[int, float]], most: int) -> None:
    widths = Widths(most)
    for width, seconds in steps:
        widths.record("key", width, seconds)

    assert 1 <= widths.limit("key") <= most


def test_a_lone_picture_is_always_let_in() -> None:
    assert settled(lambda width: float(width**3)).limit("key") >= 1
