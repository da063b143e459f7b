"""Text is made speakable and every character's origin is known."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.voice.text import languages
from services.voice.text.normalise import Normaliser

LANGUAGES = languages.load()


def normalise(text: str, language: str = "en") -> str:
    return Normaliser(LANGUAGES.of(language))(text).text


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("en", "Cats & dogs, e.g. mine", "Cats and dogs, for example mine"),
        ("en", "AT&T and R&D", "AT&T and R&D"),
        ("de", "Obst, z. B. Äpfel", "Obst, zum Beispiel Äpfel"),
        ("fr", "M. Martin", "Monsieur Martin"),
        ("en", "**bold** and `code` and snake_case and 2 * 3", "bold and code and snake_case and 2 * 3"),
        ("en", "## Title", "Title"),
        ("en", "at https://www.example.org/x", "at example.org/x"),
        ("en", "soft\u00adhyphen and zero\u200bwidth", "softhyphen and zerowidth"),
        ("en", "cafe\u0301", "caf\u00e9"),
        ("en", "no\u00a0break", "no break"),
        ("en", "What??!!!", "What?!"),
        ("zh", "价格是１２３元，５０％", "价格是123元，50%"),
        ("ja", "３．１４、１，０００、３：３０", "3.14、1,000、3:30"),
        ("en", "ＡＢＣ＆ｄ", "ABC&d"),
        ("ur", "۵۰۰", "500"),
        ("th", "๕๐๐", "500"),
        ("en", "𝟏𝟐", "12"),
        ("ne", "५००", "५००"),  # engines read those of Nepali, and 500 in English
        ("en", "See ② and ❿, ⒈Open, ⑴⑵", "See  2  and  10 ,  1 Open,  1  2 "),
        ("en", "1⅕ cups", "1 1/5  cups"),
        ("zh", "加¾杯", "加 3/4 杯"),
        ("en", "½ or ¾ of m² and H₂O", "½ or ¾ of m² and H₂O"),
    ],
)
def test_what_engines_stumble_over_is_replaced(language: str, text: str, expected: str) -> None:
    assert normalise(text, language) == expected


@settings(deadline=None)
@given(st.text(max_size=200) | st.text("１۵①⅕ａ．，5 a", max_size=50))
def test_spans_lie_within_the_original(text: str) -> None:
    result = Normaliser(LANGUAGES.of("en"))(text)
    for at in range(len(result.text)):
        start, end = result.span(at, at + 1)
        assert 0 <= start < end <= len(text)


def test_a_character_that_was_kept_comes_from_itself() -> None:
    text = "Cats & **dogs** now"
    result = Normaliser(LANGUAGES.of("en"))(text)
    start = result.text.index("now")
    assert text[slice(*result.span(start, start + 3))] == "now"


def test_each_digit_comes_from_itself() -> None:
    text = "价格是１２３元①"
    result = Normaliser(LANGUAGES.of("zh"))(text)
    start = result.text.index("23")
    assert text[slice(*result.span(start, start + 2))] == "２３"
    assert text[slice(*result.span(len(result.text) - 2, len(result.text) - 1))] == "①"


def test_a_word_that_replaces_something_comes_from_all_of_it() -> None:
    text = "fruit, e.g. apples"
    result = Normaliser(LANGUAGES.of("en"))(text)
    start = result.text.index("example")
    assert text[slice(*result.span(start, start + 7))] == "e.g."
