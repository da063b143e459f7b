import asyncio
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from services.imagegen.domain import AdapterChoice, Priority
from services.imagegen.turns import AGEING, Entry, choose, company
from tests.unit.services.imagegen.fakes import FakeState, job

Mix = st.lists(st.tuples(st.sampled_from(Priority), st.integers(0, 3), st.integers(1, 12)), min_size=1, max_size=12)


def entries(mix: list[tuple[Priority, int, int]]) -> list[Entry]:
    loop = asyncio.new_event_loop()
    made = []
    for arrival, (priority, key, steps) in enumerate(mix):
        entry = Entry(job(steps=steps), priority, None, lambda *_: None, arrival, loop.create_future())
        entry.state = FakeState(entry.job, key, steps)
        made.append(entry)
    loop.close()
    return made


@given(Mix, st.integers(1, 6))
def test_a_batch_has_one_key_and_fits(mix: list[tuple[Priority, int, int]], width: int) -> None:
    batch = choose(entries(mix), lambda _: width)

    assert 1 <= len(batch) <= width
    assert len({each.key() for each in batch}) == 1


@given(Mix, st.integers(1, 6))
def test_nobody_starves_whatever_the_priorities(mix: list[tuple[Priority, int, int]], width: int) -> None:
    active = entries(mix)
    bound = 3 * AGEING + len(active)
    for _ in range(200):
        batch = choose(active, lambda _: width)
        for entry in active:
            entry.waited += 1
        for entry in batch:
            entry.waited = 0
        assert max(entry.waited for entry in active) <= bound


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["", "a", "b"])), min_size=1, max_size=8))
def test_who_is_prepared_together_may_be_and_the_first_is_among_them(wants: list[tuple[bool, str]]) -> None:
    fresh = entries([(Priority.NORMAL, 0, 1)] * len(wants))
    for entry, (alone, adapter) in zip(fresh, wants, strict=True):
        entry.job = replace(entry.job, alone=alone, adapters=(AdapterChoice(adapter),) if adapter else ())
    together = company(fresh)

    assert together[0] is fresh[0]
    assert len({each.job.adapters for each in together}) == 1
    assert len(together) == 1 or not any(each.job.alone for each in together)
