import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rewrite_llm.text.length import shorten


@pytest.mark.parametrize(
    ("text", "max_chars", "fits"),
    [
        ("a red fox", 9, "a red fox"),
        ("a red fox", 8, "a red"),
        ("a red fox", 5, "a red"),
        ("a red, wet fox", 8, "a red"),
        ("don't go", 5, "don't"),
        ("don't go", 7, "don't"),
        ("赤い狐と犬", 3, "赤い狐"),
        ("a fox 赤い狐と犬", 9, "a fox 赤い狐"),
        ("supercalifragilistic", 5, "super"),
        ("", 5, ""),
    ],
)
def test_a_text_ends_with_a_whole_word(text: str, max_chars: int, fits: str) -> None:
    assert shorten(text, max_chars) == fits


@given(st.text(max_size=60), st.integers(1, 60))
def test_a_text_is_never_longer_than_there_is_room(text: str, max_chars: int) -> None:
    short = shorten(text, max_chars)
    assert len(short) <= max_chars
    assert text.startswith(short)
