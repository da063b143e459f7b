import pytest

from evals.candidates import SETS, load_set


@pytest.mark.parametrize("name", SETS)
def test_every_field_is_suited_by_a_row_of_the_catalog(name: str) -> None:
    found = load_set(name)
    assert set(found.suits) == {"landscape", "portrait", "poster", "logo", "general"}
    assert set(found.suits.values()) == {each.id for each in found.candidates}


@pytest.mark.parametrize("name", SETS)
def test_candidates_say_what_they_are_good_at(name: str) -> None:
    assert all(each.strengths and each.tags for each in load_set(name).candidates)


def test_an_unknown_set_is_an_error() -> None:
    with pytest.raises(KeyError):
        load_set("none")
