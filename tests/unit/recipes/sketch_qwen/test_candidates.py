import random

import pytest

from recipes.sketch_qwen.candidates import Candidates, Choice, known
from recipes.sketch_qwen.vocabulary import FIELDS


@pytest.fixture(scope="module")
def drawn() -> list[Choice]:
    source = Candidates(random.Random(11))
    return [source.draw() for _ in range(300)]


def test_every_field_is_served_by_a_candidate_of_the_set(drawn: list[Choice]) -> None:
    assert all(set(each.serving) == set(FIELDS) for each in drawn)
    assert all(set(each.serving.values()) == {row.id for row in each.candidates} for each in drawn)


def test_ids_are_unique_in_a_set(drawn: list[Choice]) -> None:
    assert all(len({row.id for row in each.candidates}) == len(each.candidates) for each in drawn)


def test_labels_are_permuted(drawn: list[Choice]) -> None:
    places = {sorted(row.id for row in each.candidates).index(each.serving["portrait"]) for each in drawn}
    assert places == {0, 1, 2, 3, 4}


def test_the_bundled_rows_are_the_catalog_s() -> None:
    choice = known("sketch")
    assert choice.serving == {
        "general": "sketch",
        **{field: f"sketch_{field}" for field in ("landscape", "portrait", "poster", "logo")},
    }


def test_a_field_without_a_specialist_goes_to_the_general_model(drawn: list[Choice]) -> None:
    bundled = {row.id for row in known("sketch").candidates}
    fewer = [each for each in drawn if {row.id for row in each.candidates} < bundled]
    assert fewer
    assert all(
        each.serving[field] in {"sketch", f"sketch_{field}"} for each in fewer for field in FIELDS if field != "general"
    )
