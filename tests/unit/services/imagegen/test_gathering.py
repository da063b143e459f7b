from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.imagegen.domain import Priority
from services.imagegen.gathering import SAVED_FOR, Gathering, Going, pays
from services.imagegen.paces import ENOUGH
from services.imagegen.turns import AGEING, Entry
from tests.unit.services.imagegen.fakes import FakeState, in_loop, job

SHARED = 5.0
"""Seconds that every pass takes, besides one for each picture."""
Change = Callable[[Entry], None]


def picture(*, done: int | None = None, width: int = 8) -> Entry:
    """Return a picture of ten steps, prepared if it has `done` some."""
    made = in_loop(job(steps=10, width=width))
    if done is not None:
        made.state = FakeState(made.job, "key", 10, done=done)
    return made


@pytest.fixture
def gathering() -> Gathering:
    """Return one that has seen passes for one and for two pictures."""
    known = Gathering()
    for company in (1, 2):
        for _ in range(ENOUGH):
            known.prepared([picture()] * company, SHARED + company)
            known.finished([picture()] * company, SHARED + company)
    return known


def going(*left: int, step_s: float | None = 1.0, others: int = 7, now: float = 0.0) -> Going:
    """Return a batch of pictures that have so many steps left."""
    return Going([picture(done=10 - each) for each in left], step_s, others, now)


def test_a_newcomer_lets_a_step_pass_where_many_would_stand_still(gathering: Gathering) -> None:
    assert gathering.begin_later([picture()], going(5, 5))


def test_a_newcomer_has_waited_enough_once_it_costs_what_company_saves(gathering: Gathering) -> None:
    budget = SAVED_FOR * SHARED * 7

    assert gathering.begin_later([picture()], going(5, now=budget - 1.5))
    assert not gathering.begin_later([picture()], going(5, now=budget - 0.5))


def test_many_who_wait_wait_for_less_long(gathering: Gathering) -> None:
    assert not gathering.begin_later([picture()] * 3, going(5, now=SAVED_FOR * SHARED * 7 / 2))


def test_who_is_drawn_waits_for_the_next_to_be(gathering: Gathering) -> None:
    assert gathering.end_later([picture(done=10)], going(9, 2))


def test_who_is_drawn_waits_for_nobody_who_comes_too_late(gathering: Gathering) -> None:
    assert not gathering.end_later([picture(done=10)], going(9, 9, step_s=8.0))


def test_who_is_drawn_waits_for_nobody_of_another_kind(gathering: Gathering) -> None:
    others = Going([picture(done=9, width=16)], 1.0, 7, 0.0)

    assert not gathering.end_later([picture(done=10)], others)


@pytest.mark.parametrize(
    ("what", "now"),
    [
        ("nothing goes on", going()),
        ("nobody would stand still", going(2, others=0)),
        ("nobody knows what a step takes", going(2, step_s=None)),
        ("a step takes longer than all that is saved", going(2, step_s=1000.0)),
    ],
)
def test_nobody_waits_where(what: str, now: Going, gathering: Gathering) -> None:
    assert not gathering.begin_later([picture()], now), what
    assert not gathering.end_later([picture(done=10)], now), what


def hasten(made: Entry) -> None:
    made.priority = Priority.HIGH


def tire(made: Entry) -> None:
    made.waited = AGEING


def part(made: Entry) -> None:
    made.job = replace(made.job, alone=True)


def press(made: Entry) -> None:
    made.deadline = 15.0


@pytest.mark.parametrize("change", [hasten, tire, part, press])
def test_who_is_in_a_hurry_waits_for_nobody_nor_do_those_with_it(change: Change, gathering: Gathering) -> None:
    fresh, drawn = picture(), picture(done=10)
    for each in (fresh, drawn):
        change(each)

    assert not gathering.begin_later([picture(), fresh], going(2))
    assert not gathering.end_later([picture(done=10), drawn], going(2))


def test_a_deadline_far_away_is_no_hurry(gathering: Gathering) -> None:
    fresh = picture()
    fresh.deadline = 1000.0

    assert gathering.begin_later([fresh], going(2))


def test_nobody_waits_until_it_is_known_what_company_saves() -> None:
    assert not Gathering().begin_later([picture()], going(2))
    assert not Gathering().end_later([picture(done=10)], going(2))


@given(st.lists(st.floats(0, 10), min_size=1, max_size=8), st.floats(0.01, 10), st.floats(0.01, 10), st.integers(0, 64))
def test_waiting_never_costs_more_than_it_may_save(
    waited: list[float], wait: float, shared: float, others: int
) -> None:
    if pays(waited, wait, shared, others):
        assert sum(each + wait for each in waited) <= SAVED_FOR * shared * others * (1 + 1e-9)
