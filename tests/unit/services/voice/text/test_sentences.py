"""The splitter loses nothing, keeps its limit, and cuts where people pause."""

import gc
import time
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.voice.text import languages
from services.voice.text.graphemes import is_boundary
from services.voice.text.sentences import Sentence, Splitter, halves

LANGUAGES = languages.load()


def split(text: str, language: str = "en", *, limit: int = 400, step: int = 0) -> list[Sentence]:
    splitter = Splitter(LANGUAGES.of(language), limit=limit)
    size = step or max(1, len(text))
    found = [each for start in range(0, len(text), size) for each in splitter.feed(text[start : start + size])]
    return found + list(splitter.flush())


def texts(text: str, language: str = "en", **options: int) -> list[str]:
    return [each.text.strip() for each in split(text, language, **options)]


anything = st.text(max_size=300)
WORDS = [
    "Dr.",
    "Smith",
    "3.14",
    "U.S.",
    "e.g.",
    '"Really?"',
    "she",
    "https://a.b/c.d",
    "Done!",
    "👍",
    "…",
    "。",
    "नमस्ते।",
]
prose = st.lists(st.sampled_from([*WORDS, "\n\n"]), max_size=40).map(" ".join)


@settings(deadline=None)
@given(anything | prose, st.integers(20, 80))
def test_joined_pieces_are_the_text(text: str, limit: int) -> None:
    assert "".join(each.text for each in split(text, limit=limit)) == text


@settings(deadline=None)
@given(anything | prose, st.integers(20, 80), st.integers(1, 17))
def test_offsets_are_where_the_pieces_stand(text: str, limit: int, step: int) -> None:
    for each in split(text, limit=limit, step=step):
        assert text[each.offset : each.offset + len(each.text)] == each.text


@settings(deadline=None)
@given(anything | prose, st.integers(20, 80))
def test_no_piece_is_longer_than_the_limit_or_empty(text: str, limit: int) -> None:
    assert all(0 < len(each.text) <= limit for each in split(text, limit=limit))


@settings(deadline=None)
@given(prose, st.integers(1, 9))
def test_the_size_of_the_pieces_that_arrive_makes_no_difference(text: str, step: int) -> None:
    assert "".join(each.text for each in split(text, step=step)) == text
    assert [each.text for each in split(text, step=step)] == [each.text for each in split(text)]


@settings(deadline=None)
@given(st.text(alphabet="👨‍👩‍👧‍👦🇩🇪🇫🇷é👍🏽n̈", max_size=200))
def test_long_text_without_spaces_is_never_cut_inside_a_character(text: str) -> None:
    for each in split(text, limit=64)[1:]:
        assert is_boundary(text, each.offset) or not any(
            is_boundary(text, at) for at in range(each.offset - 31, each.offset)
        )


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("en", "He met Dr. Smith. He left.", ["He met Dr. Smith.", "He left."]),
        ("en", "It costs 3.14 dollars. Yes.", ["It costs 3.14 dollars.", "Yes."]),
        ("en", "See https://a.b/c.html?x=1. Next.", ["See https://a.b/c.html?x=1.", "Next."]),
        ("en", "Mail a.b@c.org now. Go.", ["Mail a.b@c.org now.", "Go."]),
        ("en", '"Really?" she said. "Yes."', ['"Really?" she said.', '"Yes."']),
        ("en", "J. R. R. Tolkien wrote it. I read it.", ["J. R. R. Tolkien wrote it.", "I read it."]),
        ("en", "At 5 p.m. we left. At 6 p.m. They came.", ["At 5 p.m. we left.", "At 6 p.m.", "They came."]),
        ("en", "Wait… what? Oh!", ["Wait… what?", "Oh!"]),
        ("en", "Great! 👍 Next.", ["Great!", "👍 Next."]),
        ("en", "1. Eggs and milk. 2. Bread.", ["1. Eggs and milk.", "2. Bread."]),
        ("en", "Title\n\nText", ["Title", "Text"]),
        ("de", "Am 3. Oktober kam z.B. Hr. Meier. Er blieb.", ["Am 3. Oktober kam z.B. Hr. Meier.", "Er blieb."]),
        ("fr", "M. Dupont est là. Il attend.", ["M. Dupont est là.", "Il attend."]),
        ("pt", "O Sr. Silva chegou. Falou.", ["O Sr. Silva chegou.", "Falou."]),
        ("cs", "Přišel např. pan Novák. Odešel.", ["Přišel např. pan Novák.", "Odešel."]),
        ("tr", "Bkz. sayfa. Tamam.", ["Bkz. sayfa.", "Tamam."]),
        ("ru", "Он жил на ул. Ленина. Потом уехал.", ["Он жил на ул. Ленина.", "Потом уехал."]),
        ("zh", "你好。今天好吗？『是的。』走吧", ["你好。", "今天好吗？", "『是的。』", "走吧"]),
        ("hi", "नमस्ते। कैसे हैं?", ["नमस्ते।", "कैसे हैं?"]),
        ("ar", "هل أنت بخير؟ نعم.", ["هل أنت بخير؟", "نعم."]),
    ],
)
def test_sentences_end_where_people_would_say(language: str, text: str, expected: list[str]) -> None:
    assert texts(text, language) == expected


def test_a_sentence_comes_out_as_soon_as_the_next_one_begins() -> None:
    splitter = Splitter(LANGUAGES.of("en"), limit=400)
    assert list(splitter.feed("It is done. ")) == []
    assert [each.text for each in splitter.feed("N")] == ["It is done. "]


def test_a_long_sentence_is_cut_at_a_comma_and_says_so() -> None:
    found = split("one two three four, five six seven eight nine ten eleven.", limit=30)
    assert found[0] == Sentence("one two three four, ", 0, complete=False)
    assert found[-1].complete


@settings(deadline=None)
@given(st.text(min_size=2, max_size=60), st.booleans())
def test_halves_are_the_whole(text: str, complete: bool) -> None:
    first, second = halves(Sentence(text, 7, complete))
    assert first.text + second.text == text
    assert first.text and second.text
    assert (first.offset, second.offset) == (7, 7 + len(first.text))
    assert (first.complete, second.complete) == (False, complete)


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("it goes on and on and costs 1,000,000.50 in all of the years", "it goes on and on and costs "),
        ("it goes on and on and see https://a.b:80/c?d=1 for more", "it goes on and on and see "),
        ("it goes on, and on and on and costs 1,000,000 in all", "it goes on, and on and on and costs "),
        ("it goes on and on now, it has a pause here and goes on", "it goes on and on now, "),
        ("它一直在说，一直在说，说了很久很久都没有停下来的意思，还在说，没有停下来", None),
    ],
)
def test_numbers_and_addresses_stay_whole_when_a_sentence_is_cut(text: str, cut: str | None) -> None:
    first = split(text, limit=36)[0].text
    assert first == cut if cut else first.endswith("，")


@settings(deadline=None)
@given(st.lists(st.sampled_from(["word", "1,234,567.89", "https://example.org/a,b?c=1", "e.g.", "3:45", "—", "x,"])))
def test_no_token_is_cut_where_there_are_spaces(tokens: list[str]) -> None:
    text = " ".join(tokens)
    for each in split(text, limit=64):
        assert all(token in tokens for token in each.text.split())


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Keep the collector of garbage, whose share grows with what other tests left, out of the figures."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize(
    "unit", ["word ", ". ", "a. ", "\n", "\n ", '"', "!", "x", "Dr. ", "1. ", "🇩🇪", "e\u0301"], ids=ascii
)
def test_time_grows_with_length_only(unit: str) -> None:
    """Ten times as much text takes about ten times the processor's time, never a hundred times."""

    def seconds(characters: int) -> float:
        text = unit * (characters // len(unit))
        began = time.process_time()
        split(text)
        return time.process_time() - began

    assert min(seconds(100_000) for _ in range(3)) < 50 * max(0.001, *(seconds(10_000) for _ in range(3)))


def test_marks_belong_to_their_letter() -> None:
    assert unicodedata.category("\u0301") == "Mn"
    assert not is_boundary("e\u0301", 1)
