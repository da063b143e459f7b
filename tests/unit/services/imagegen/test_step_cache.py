import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from services.imagegen.step_cache import StepCache

ROWS = TypeAdapter(StepCache)
CACHES = st.builds(
    StepCache, interval=st.integers(2, 10), first=st.integers(1, 20), last=st.integers(0, 20), order=st.integers(0, 3)
)


@pytest.mark.parametrize(
    ("cache", "computed"),
    [
        (StepCache(interval=3), [0, 1, 2, 4, 7, 10]),
        (StepCache(interval=3, last=1), [0, 1, 2, 4, 7, 10, 11]),
        (StepCache(interval=2, first=1), [0, 2, 4, 6, 8, 10]),
        (StepCache(interval=5, first=4, last=3), [0, 1, 2, 3, 5, 9, 10, 11]),
        (StepCache(interval=3, first=12), list(range(12))),
    ],
)
def test_the_computed_steps_are_the_first_the_last_and_one_an_interval(cache: StepCache, computed: list[int]) -> None:
    assert cache.computed(12) == computed


@given(CACHES, st.integers(1, 100))
def test_nothing_is_forecast_from_nothing_and_never_far_ahead(cache: StepCache, total: int) -> None:
    computed = cache.computed(total)

    assert computed[0] == 0
    assert all(after - before <= cache.interval for before, after in zip(computed, [*computed[1:], total], strict=True))


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"interval": 1}, "interval"),
        ({"interval": 11}, "interval"),
        ({"interval": 3, "first": 0}, "first"),
        ({"interval": 3, "last": -1}, "last"),
        ({"interval": 3, "order": 4}, "order"),
        ({"interval": 3, "warm": 2}, "warm"),
        ({}, "interval"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(row: dict[str, int], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        ROWS.validate_python(row)

    assert [each["loc"][-1] for each in refused.value.errors()] == [field]
