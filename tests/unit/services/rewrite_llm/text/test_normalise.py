import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rewrite_llm.text.normalise import fold, views

ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff\u00ad"
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def readings(text: str) -> list[str]:
    return [view.text for view in views(text)]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("NAKED", "naked"),
        ("ｎａｋｅｄ", "naked"),
        ("𝓷𝓪𝓴𝓮𝓭", "naked"),
        ("ⓝⓐⓚⓔⓓ", "naked"),
        ("🅽🅰🅺🅴🅳", "naked"),
        ("🇳🇺🇩🇪", "nude"),
        ("nаkеd", "naked"),  # Cyrillic а and е
        ("νude".replace("ν", "n"), "nude"),
        ("ɴᴀᴋᴇᴅ", "naked"),
        ("nåkêd", "naked"),
        ("n\u0336a\u0336k\u0336e\u0336d\u0336", "naked"),
        ("na\u200bked", "naked"),
        ("na\u00adked", "naked"),
        ("STRASSE straße", "strasse strasse"),
        ("one\ntwo\tthree\u2028four", "one two three four"),
        ("ﬁne", "fine"),
    ],
)
def test_the_folded_view_undoes(written: str, meant: str) -> None:
    assert fold(written) == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("n4ked", "naked"),
        ("nak3d", "naked"),
        ("@ss", "ass"),
        ("p0rn", "porn"),
        ("k1ll", "kill"),
        ("he1l", "hell"),
        ("bo0b$", "boobs"),
        ("ni99er", "nigger"),
        ("na-ked", "naked"),
        ("na.k.ed", "naked"),
        ("nuuuude", "nude"),
        ("boooobs", "boobs"),
        ("n*de", "nude"),
        ("p#rn", "porn"),
        ("n u d e", "nude"),
        ("n.u.d.e", "nude"),
        ("n - u", "n - u"),
        ("n u d 3", "nude"),
        ("n   u   d   e", "nude"),
        ("n. . u. . d. . e", "nude"),
        ("n u-d  e", "nude"),
        ("n\nu\nd\ne", "nude"),
        ("n u d e girl", "nude girl"),
        ("n u d e  c h i l d", "nude  child"),
        ("n u d e ch1ld", "nude child"),
        ("1 4 8 8", "1488"),
        ("n u d 3 1 5 y o", "nud315yo"),
    ],
)
def test_some_view_undoes(written: str, meant: str) -> None:
    assert meant in readings(written)


@pytest.mark.parametrize(
    "text", ["a fox in the snow", "ein Fuchs im Schnee", "雪の中の狐", "portrait of an old man, soft light", "3 cats"]
)
def test_a_plain_text_has_one_view(text: str) -> None:
    assert len(views(text)) == 1


def test_a_run_of_letters_is_solid() -> None:
    assert [(view.text, view.solid) for view in views("my a n u d e girl, s.h.y")] == [
        ("my a n u d e girl, s.h.y", frozenset()),
        ("my a n u d e girl, shy", frozenset()),
        ("my anude girl, shy", frozenset({3, 15})),
    ]


@pytest.mark.parametrize(
    ("text", "word", "part"),
    [
        ("a n4ked man", "naked", "n4ked"),
        ("a n.u.d.e man", "nude", "n.u.d.e"),
        ("a na\u200bk\u200ced man", "naked", "na\u200bk\u200ced"),
        ("STRAẞE hier", "strasse", "STRAẞE"),
        ("a nuuude man", "nude", "nuuude"),
        ("n  u  d  e man", "nude", "n  u  d  e"),
    ],
)
def test_a_view_knows_where_its_words_come_from(text: str, word: str, part: str) -> None:
    view = next(view for view in views(text) if word in view.text)
    at = view.text.index(word)
    start, end = view.span(at, at + len(word))
    assert text[start:end] == part


@given(st.text())
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.text())
def test_the_first_view_is_the_folded_text(text: str) -> None:
    assert readings(text)[0] == fold(text)


@given(st.text(max_size=60))
def test_every_part_of_every_view_comes_from_the_text_in_order(text: str) -> None:
    for view in views(text):
        assert len(view.origins) == len(view.text) + 1
        assert list(view.origins) == sorted(view.origins)
        for at in range(len(view.text)):
            start, end = view.span(at, at + 1)
            assert 0 <= start < end <= len(text)


@given(st.text(alphabet=LETTERS + " ", max_size=40), st.lists(st.sampled_from(ZERO_WIDTH)))
def test_invisible_characters_change_nothing(text: str, invisible: list[str]) -> None:
    hidden = "".join(char + (invisible[at % len(invisible)] if invisible else "") for at, char in enumerate(text))
    assert fold(hidden) == text


@given(st.text(alphabet=LETTERS, min_size=3, max_size=12), st.sampled_from(" .-_*"))
def test_letters_pulled_apart_come_together(word: str, gap: str) -> None:
    assert word in readings(gap.join(word))


@given(st.text(max_size=200))
def test_there_are_few_views(text: str) -> None:
    assert len(views(text)) <= 21
