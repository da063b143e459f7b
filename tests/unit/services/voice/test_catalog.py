"""A wrong catalog is explained: file, row, field, what is allowed."""

from pathlib import Path

import pytest

from servekit.residency import UnknownModel
from services.voice import catalog
from services.voice.catalog import CatalogError
from tests.unit.services.voice.speaking import row, shipped

GOOD = """
[[model]]
id = "mine"
display_name = "Mine"
family = "espeak"
source = "x"
license = "MIT"
strengths = "Speaks well enough."
default_voice = "mine/en"
max_characters = 100
bytes = 5
"""


def load(tmp_path: Path, text: str) -> catalog.Catalog:
    file = tmp_path / "mine.toml"
    file.write_text(text, encoding="utf-8")
    return catalog.load(file, families=["espeak", "xtts"])


def mistakes(tmp_path: Path, text: str) -> str:
    with pytest.raises(CatalogError) as caught:
        load(tmp_path, text)
    return str(caught.value)


def test_the_shipped_catalog_speaks_with_espeak() -> None:
    assert shipped().default().id == "espeak"


def test_a_users_row_is_added(tmp_path: Path) -> None:
    assert list(load(tmp_path, GOOD).rows) == ["espeak", "xtts", "mine"]


def test_a_users_row_changes_single_fields(tmp_path: Path) -> None:
    changed = load(tmp_path, '[[model]]\nid = "espeak"\nmax_characters = 50').get("espeak")
    assert (changed.max_characters, changed.family) == (50, "espeak")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (GOOD.replace("100", "1"), ["mine.toml", "row 1 (mine)", "max_characters", "20"]),
        (GOOD.replace("100", '"many"'), ["max_characters", "integer"]),
        (GOOD + "max_characters_by_language = { en = 0 }", ["row 1 (mine)", "max_characters_by_language.en", "20"]),
        (GOOD + "max_characters_by_language = { en = 10001 }", ["max_characters_by_language.en", "10000"]),
        (GOOD + "max_characters_by_language = { zh-tw = 50 }", ["max_characters_by_language.zh-tw", "pattern"]),
        (GOOD + 'default_voices = { "Brazilian Portuguese" = "mine/pt" }', ["default_voices.Brazilian", "pattern"]),
        (GOOD + "colour = 1", ["colour", "allowed are id, display_name"]),
        (GOOD.replace('"espeak"', '"harp"'), ["mine", "family", "harp", "allowed are espeak"]),
        (GOOD + 'fallback = "nobody"', ["fallback", "nobody", "espeak"]),
        (GOOD + "default = true", ["default", "espeak, mine"]),
        (GOOD + GOOD, ["row 2", "id"]),
        ("[[model]]\nbytes = 1", ["row 1", "id"]),
        ("[other]", ["other", "unknown table", "[[model]]"]),
        ("no toml", ["mine.toml"]),
    ],
)
def test_a_mistake_is_explained(tmp_path: Path, text: str, told: list[str]) -> None:
    message = mistakes(tmp_path, text)
    assert all(each in message for each in told), message


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    message = mistakes(tmp_path, GOOD.replace("100", "1").replace("bytes = 5", "bytes = -5"))
    assert "max_characters" in message
    assert "bytes" in message


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(UnknownModel) as caught:
        shipped().get("espeek")
    assert caught.value.nearest == ("espeak",)


def test_languages_may_be_written_in_capitals() -> None:
    mine = row(default_voices={"pt-BR": "robot/pt-br"}, max_characters_by_language={"ZH": 40})
    assert mine.default_voices == {"pt-br": "robot/pt-br"}
    assert mine.limit("zh-tw") == 40


def test_the_limit_depends_on_the_language() -> None:
    caps = row(max_characters_by_language={"zh": 40})
    assert (caps.limit("zh-tw"), caps.limit("en-us")) == (40, 100)
