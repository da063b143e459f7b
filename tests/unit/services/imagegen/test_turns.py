from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from services.imagegen.domain import AdapterChoice, Priority
from services.imagegen.turns import AGEING, LEAD, Entry, choose, company, is_full, to_prepare
from tests.unit.services.imagegen.fakes import FakeState, in_loop, job

Mix = st.lists(st.tuples(st.sampled_from(Priority), st.integers(0, 3), st.integers(1, 12)), min_size=1, max_size=12)
NO_LIMIT = 1000


def entries(mix: list[tuple[Priority, int, int]]) -> list[Entry]:
    made = []
    for arrival, (priority, key, steps) in enumerate(mix):
        made.append(in_loop(job(steps=steps), priority, arrival))
        made[-1].state = FakeState(made[-1].job, key, steps)
    return made


def step(active: list[Entry], batch: list[Entry]) -> None:
    """Take a step as the batcher does."""
    for entry in active:
        entry.waited += 1
    for entry in batch:
        entry.waited = 0
        assert isinstance(entry.state, FakeState)
        entry.state.done += 1


@given(Mix, st.integers(1, 6))
def test_a_batch_has_one_key_and_fits(mix: list[tuple[Priority, int, int]], width: int) -> None:
    batch = choose(entries(mix), lambda _: NO_LIMIT, width)

    assert 1 <= len(batch) <= width
    assert len({each.key() for each in batch}) == 1


@given(st.lists(st.integers(1, 2), min_size=1, max_size=12), st.integers(1, 24), st.integers(1, 12))
def test_a_batch_is_as_many_of_the_first_as_there_are_rows_for(rows: list[int], limit: int, most: int) -> None:
    kind = entries([(Priority.NORMAL, 0, 1)] * len(rows))
    for entry, each in zip(kind, rows, strict=True):
        assert isinstance(entry.state, FakeState)
        entry.state.rows = each
    batch = choose(kind, lambda _: limit, most)

    assert batch == kind[: len(batch)]
    assert 1 <= len(batch) <= most
    assert len(batch) == 1 or sum(rows[: len(batch)]) <= limit
    assert len(batch) in (most, len(kind)) or sum(rows[: len(batch) + 1]) > limit


def test_without_anybody_there_is_no_batch_and_all_are_prepared() -> None:
    fresh = entries([(Priority.NORMAL, 0, 1)] * 2)
    for entry in fresh:
        entry.state = None

    assert choose([], lambda _: NO_LIMIT, 8) == []
    assert to_prepare(fresh, [], full=is_full([], lambda _: NO_LIMIT, 8)) == fresh


def test_nobody_is_prepared_for_a_place_whose_rows_are_taken() -> None:
    guided, fresh = entries([(Priority.NORMAL, 0, 1)] * 2)
    assert isinstance(guided.state, FakeState)
    guided.state.rows, fresh.state = 2, None

    assert to_prepare([fresh], [guided], full=is_full([guided], lambda _: 2, 8)) == []
    assert to_prepare([fresh], [guided], full=is_full([guided], lambda _: 3, 8)) == [fresh]


@given(Mix, st.integers(1, 6))
def test_nobody_starves_whatever_the_priorities(mix: list[tuple[Priority, int, int]], width: int) -> None:
    """Of kinds that never end each gets a step within the bound; of one kind the first go on."""
    active = entries(mix)
    kinds = {each.key() for each in active}
    bound, since_last = 3 * AGEING + len(kinds), dict.fromkeys(kinds, 0)
    for _ in range(200):
        batch = choose(active, lambda _: NO_LIMIT, width)
        for kind in kinds:
            since_last[kind] += 1
        since_last[batch[0].key()] = 0
        step(active, batch)
        alike = [each for each in active if each.key() == batch[0].key()]
        assert max(since_last.values()) <= bound
        assert batch == sorted(alike, key=lambda each: each.rank)[: len(batch)]


@given(Mix, st.integers(1, 6))
def test_who_came_first_is_done_first_of_equals_and_everyone_is(
    mix: list[tuple[Priority, int, int]], width: int
) -> None:
    """Of pictures with equally many steps; no more steps are taken than one by one."""
    active, done = entries([(priority, key, 5) for priority, key, _ in mix]), list[Entry]()
    for _ in range(5 * len(active)):
        if active:
            batch = choose(active, lambda _: NO_LIMIT, width)
            step(active, batch)
            done += [each for each in batch if each.drawn]
            active = [each for each in active if not each.drawn]

    assert not active
    for priority in Priority:
        for key in range(4):
            equals = [each.arrival for each in done if (each.priority, each.key()) == (priority, key)]
            assert equals == sorted(equals)


def test_a_higher_priority_goes_before_those_that_came_less_than_its_lead_before() -> None:
    old, recent, urgent = entries([(Priority.NORMAL, 0, 1), (Priority.NORMAL, 0, 1), (Priority.HIGH, 0, 1)])
    recent.since, urgent.since = 1, LEAD

    assert choose([old, recent, urgent], lambda _: NO_LIMIT, 3) == [old, urgent, recent]


@given(Mix, st.lists(st.tuples(st.sampled_from(Priority), st.integers(0, 12)), max_size=6), st.integers(1, 6))
def test_only_who_has_no_place_is_left_unprepared_and_not_for_long(
    mix: list[tuple[Priority, int, int]], new: list[tuple[Priority, int]], width: int
) -> None:
    prepared = entries(mix)
    fresh = entries([(priority, 0, 1) for priority, _ in new])
    for entry, (_, waited) in zip(fresh, new, strict=True):
        entry.state, entry.waited, entry.since = None, waited, 1
    batch = choose(prepared, lambda _: NO_LIMIT, width)
    full = is_full(batch, lambda _: NO_LIMIT, width)
    chosen = to_prepare(fresh, batch, full=full)

    assert full == (len(batch) == width)
    assert set(chosen) <= set(fresh)
    for entry in set(fresh) - set(chosen):
        assert len(batch) == width and entry.waited < AGEING and entry.rank > batch[-1].rank


def test_what_looks_otherwise_is_prepared_though_all_places_are_taken() -> None:
    full = entries([(Priority.NORMAL, 0, 1)] * 2)
    wide, alone, same = entries([(Priority.NORMAL, 0, 1)] * 3)
    wide.job, alone.job = replace(wide.job, width=16), replace(alone.job, alone=True)
    for entry in (wide, alone, same):
        entry.state, entry.arrival = None, entry.arrival + len(full)

    def chosen(*fresh: Entry) -> list[Entry]:
        return to_prepare(fresh, full, full=True)

    assert (chosen(same, wide), chosen(alone, same), chosen(same)) == ([wide], [alone], [])


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["", "a", "b"])), min_size=1, max_size=8))
def test_who_is_prepared_together_may_be_and_the_first_is_among_them(wants: list[tuple[bool, str]]) -> None:
    fresh = entries([(Priority.NORMAL, 0, 1)] * len(wants))
    for entry, (alone, adapter) in zip(fresh, wants, strict=True):
        entry.job = replace(entry.job, alone=alone, adapters=(AdapterChoice(adapter),) if adapter else ())
    together = company(fresh)

    assert together[0] is fresh[0]
    assert len({each.job.adapters for each in together}) == 1
    assert len(together) == 1 or not any(each.job.alone for each in together)
