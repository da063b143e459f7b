from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.imagegen.paces import ENOUGH, Paces, PacesByKind


def measured(seconds: Callable[[int], float], widths: range, passes: int = ENOUGH) -> Paces:
    """Return the paces after so many passes of each width."""
    paces = Paces()
    for _ in range(passes):
        for width in widths:
            paces.record(width, seconds(width))
    return paces


def test_a_width_is_known_after_some_passes() -> None:
    paces = measured(lambda width: 2.0 * width, range(3, 4), ENOUGH - 1)
    before = paces.seconds(3)
    paces.record(3, 6.0)

    assert before is None
    assert paces.seconds(3) == pytest.approx(6.0)
    assert paces.seconds(4) is None


def test_a_first_pass_that_took_long_is_forgotten() -> None:
    paces = Paces()
    paces.record(1, 1000.0)
    for _ in range(ENOUGH):
        paces.record(1, 1.0)

    assert paces.seconds(1) == pytest.approx(1.0)


def test_a_machine_that_becomes_slower_is_believed_soon() -> None:
    paces = measured(lambda width: 1.0 + width, range(1, 5), 50)
    for _ in range(10):
        paces.record(2, 6.0)

    assert paces.seconds(4) == pytest.approx(10.0, rel=0.2)


@pytest.mark.parametrize("fixed", [0.0, 0.5, 3.0])
def test_what_passes_have_in_common_is_found_though_they_differ(fixed: float) -> None:
    random = Random(1)
    paces = measured(lambda width: (fixed + width) * random.gauss(1, 0.05), range(1, 9), 100)

    assert paces.shared() == pytest.approx(fixed, abs=0.3)


@pytest.mark.parametrize("seen", [range(0), range(1, 2)])
def test_nothing_is_in_common_until_two_widths_are_known(seen: range) -> None:
    assert measured(lambda _: 1.0, seen).shared() == 0.0


@given(st.lists(st.tuples(st.integers(1, 16), st.floats(0, 100)), max_size=200))
def test_what_passes_have_in_common_is_never_more_than_the_narrowest_takes(passes: list[tuple[int, float]]) -> None:
    paces = Paces()
    for width, seconds in passes:
        paces.record(width, seconds)

    believed = paces.believed
    assert 0.0 <= paces.shared() <= (paces.seconds(believed[0]) or 0.0 if believed else 0.0) * (1 + 1e-9)


def test_of_very_many_kinds_those_asked_for_last_are_known() -> None:
    kinds = PacesByKind()
    kinds["old"].record(1, 1.0)
    kinds["kept"].record(1, 1.0)
    for kind in range(63):
        kinds["kept"].record(1, 1.0)
        kinds[kind].record(1, 1.0)

    assert (kinds["kept"].passes, kinds["old"].passes) == (64, 0)
