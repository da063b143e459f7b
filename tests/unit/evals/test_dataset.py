from collections import Counter
from pathlib import Path

import pytest

from evals.dataset import load

ALL = load()


def test_there_are_enough_prompts_in_enough_languages() -> None:
    languages = Counter(each.language for each in ALL)
    assert len(ALL) >= 400
    assert sum(count >= 40 for count in languages.values()) >= 5


def test_there_are_at_least_thirty_attacks() -> None:
    assert sum(each.kind == "attacks" for each in ALL) >= 30


def test_every_field_and_category_is_in_both_parts() -> None:
    dev, test = ({(each.field, each.category) for each in load(part)} for part in ("dev", "test"))
    assert dev == test


def test_the_parts_divide_the_whole() -> None:
    assert sorted(each.text for each in (*load("dev"), *load("test"))) == sorted(each.text for each in ALL)


def test_minors_always_block() -> None:
    assert {each.action for each in ALL if each.category == "minors"} == {"block"}


@pytest.mark.parametrize(
    ("group", "complaint"),
    [
        ('language = "en"\ntexts = ["a"]', "a safe prompt needs a field"),
        ('language = "en"\nfield = "logo"\naction = "block"\ntexts = ["a"]', "a category is given exactly where"),
        ('language = "en"\nfield = "cat"\ntexts = ["a"]', "field"),
        ('language = "en"\nfield = "logo"\ntexts = []', "texts"),
        ('language = "en"\nfield = "logo"\ntexts = ["a", "a"]', "listed twice: 'a'"),
    ],
)
def test_wrong_labels_are_named(group: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text(f"[[group]]\n{group}\n")
    with pytest.raises(ValueError, match=complaint):
        load(folder=tmp_path)
