from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.imagegen.paces import ENOUGH
from services.imagegen.widths import LOOK_AGAIN_AFTER, Widths


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


def test_after_a_while_what_was_slower_is_tried_anew() -> None:
    widths = Widths(16)
    crowd(widths, lambda width: width**2)
    for _ in range(LOOK_AGAIN_AFTER):
        widths.record("key", 1, 1.0)

    assert widths.limit("key") == 16


def test_what_is_still_slower_is_narrowed_again_after_a_few_steps() -> None:
    widths = Widths(16)
    crowd(widths, lambda width: width**2)
    used = []
    for _ in range(4 * LOOK_AGAIN_AFTER):
        used.append(widths.limit("key"))
        widths.record("key", used[-1], used[-1] ** 2)

    assert used.count(1) > 0.9 * len(used)


def busy(widths: Widths, random: Random, *, steady: int, spill: float = 1.0) -> list[tuple[int, int]]:
    """Return how many could have shared each step, and how many did, on a machine that is slower now and then.

    It changes its pace about every `steady` steps. More than four at once take `spill` times what they should.
    """
    pace, company, shared = 1.0, 1, []
    for _ in range(4000):
        if random.random() < 1 / steady:
            pace = random.choice([0.8, 1.0, 1.5])
        company = min(8, max(1, company + random.choice([-1, 0, 1])))
        width = min(company, widths.limit("key"))
        shared.append((company, width))
        widths.record("key", width, random.gauss(1, 0.05) * pace * (5 + 5.5 * width) * (spill if width > 4 else 1))
    return shared


@pytest.mark.parametrize("steady", [20, 50, 500])
def test_a_machine_that_is_slower_now_and_then_narrows_hardly_anything(steady: int) -> None:
    shared = busy(Widths(8), Random(steady), steady=steady)

    assert sum(company > width for company, width in shared) < 0.02 * len(shared)


@pytest.mark.parametrize("steady", [20, 50, 500])
def test_what_is_slower_is_found_on_a_machine_that_is_slower_now_and_then(steady: int) -> None:
    shared = busy(Widths(8), Random(steady), steady=steady, spill=1.6)

    assert sum(width > 4 for _, width in shared[200:]) < 0.05 * len(shared)


def test_what_does_not_fit_is_halved_for_good_and_for_its_kind_alone() -> None:
    widths = Widths(16)
    widths.does_not_fit("large", 12)

    assert (widths.limit("large"), widths.limit("small")) == (6, 16)


@given(st.lists(st.tuples(st.integers(1, 16), st.floats(0.001, 10)), max_size=200), st.integers(1, 16))
def test_a_limit_is_always_between_one_and_the_most(steps: list[tuple[int, float]], most: int) -> None:
    widths = Widths(most)
    for width, seconds in steps:
        widths.record("key", width, seconds)

    assert 1 <= widths.limit("key") <= most


def test_a_lone_picture_is_always_let_in() -> None:
    assert settled(lambda width: float(width**3)).limit("key") >= 1
