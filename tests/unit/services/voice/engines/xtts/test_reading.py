"""Text and voices of XTTS, without the model."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.voice.domain import EngineSpec
from services.voice.engines.xtts import languages
from services.voice.engines.xtts.roster import roster, shipped
from services.voice.engines.xtts.text import Reader


class Letters:
    """Reads a letter as a token, behind one for the language; spells digits out."""

    def __init__(self) -> None:
        self.char_limits = {"en": 250}

    def encode(self, text: str, code: str) -> list[int]:
        assert code in languages.CODES.values()
        return [0, *(ord(letter) for letter in text for _ in range(8 if letter.isdigit() else 1))]


def test_short_text_is_one_part_in_lower_case() -> None:
    assert list(Reader(Letters(), 20).read(" Hello ", "en-us")) == [(0, *map(ord, "hello"))]


def test_long_text_is_halved_at_a_space() -> None:
    parts = Reader(Letters(), 12).read("one two three four", "de")
    assert ["".join(map(chr, part[1:])) for part in parts] == ["one two", "three four"]


@given(st.text(min_size=1, max_size=80), st.integers(min_value=2, max_value=30))
def test_every_part_is_within_the_limit_and_nothing_is_lost(text: str, limit: int) -> None:
    parts = list(Reader(Letters(), limit).read(text, "en"))
    assert all(len(part) <= limit for part in parts)
    if limit > 10:
        said = "".join(chr(token) for part in parts for token in part[1:])
        spelt = "".join(letter * (8 if letter.isdigit() else 1) for letter in text.lower())
        assert "".join(said.split()) == "".join(spelt.split())


def test_the_tokenizer_is_kept_from_logging_what_people_say() -> None:
    tokenizer = Letters()
    Reader(tokenizer, 10)
    assert min(tokenizer.char_limits.values()) > 10**6


@pytest.mark.parametrize(("tag", "code"), [("en", "en"), ("zh-hant", "zh-cn"), ("pt-br", "pt")])
def test_a_region_does_not_matter(tag: str, code: str) -> None:
    assert languages.code(tag) == code


def test_only_what_can_be_read_here_is_offered() -> None:
    assert "zh" in languages.available()
    assert set(languages.available()) <= set(languages.CODES)


def test_every_known_speaker_has_an_id_of_its_own() -> None:
    ids = [voice.id for voice in roster(EngineSpec("xtts", "x"), shipped()).voices]
    assert len(set(ids)) == 58
    assert {"xtts/alma-maria", "xtts/eugenio-mataraci"} <= set(ids)
    assert all(one != other for one, other in pairwise(sorted(ids)))


def test_the_catalog_overrules_who_speaks_a_language() -> None:
    found = roster(EngineSpec("xtts", "x", {"de": "xtts/b"}), ["A", "B"])
    assert (found.defaults["en"], found.defaults["de"]) == ("xtts/a", "xtts/b")
    assert roster(EngineSpec("xtts", "x"), []).voices == ()
