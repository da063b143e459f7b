"""Only whole SSML documents reach an engine."""

import pytest

from services.voice.text.speakable import is_speakable
from services.voice.text.ssml import document, fault


def test_a_document_is_accepted() -> None:
    assert fault('<speak>Hello <break time="1s"/> <prosody rate="slow">you</prosody></speak>') == ""


def test_an_alias_is_said() -> None:
    assert fault('<speak><sub alias="World Wide Web">…</sub></speak>') == ""


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("<speak>no end", "well-formed"),
        ("plain text", "well-formed"),
        ("<p>other root</p>", "<speak>"),
        ("<speak></speak>", "nothing to speak"),
        ('<speak> <break time="1s"/>…</speak>', "nothing to speak"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><speak>&a;</speak>', "document type"),
    ],
)
def test_anything_else_is_explained(text: str, complaint: str) -> None:
    assert complaint in fault(text)


@pytest.mark.parametrize(
    ("time", "used"),
    [
        ("10s", "10s"),
        ("250ms", "250ms"),
        ("11s", "10000ms"),
        ("1000s", "10000ms"),
        ("99999999999999999999s", "10000ms"),
        ("9" * 1000, "10000ms"),
        ("1.5s", "1500ms"),
        (" .5 s", "500ms"),
        ("soon", "soon"),
    ],
)
def test_a_break_lasts_ten_seconds_at_most(time: str, used: str) -> None:
    read = document(f'<speak>Hello <break strength="weak" time = "{time}"/> there</speak>')
    assert read.text.text == f'<speak>Hello <break strength="weak" time = "{used}"/> there</speak>'
    assert [each.used for each in read.adjustments] == (["10s"] if used == "10000ms" else [])


def test_of_many_long_breaks_the_first_is_told_and_how_many_there_are() -> None:
    (told,) = document("<speak>a" + "<break time='60s'/>" * 1000 + "</speak>").adjustments
    assert (told.field, told.requested) == ("text", "break of 60s")
    assert told.reason == "a <break> lasts at most 10 s, all of a document 300 s; so 999 more"


def test_all_breaks_of_a_document_last_five_minutes_at_most() -> None:
    read = document("<speak>a" + "<break time='8s'/>" * 40 + "</speak>")
    assert (
        read.text.text
        == "<speak>a" + "<break time='8s'/>" * 37 + "<break time='4000ms'/>" + "<break time='0ms'/>" * 2 + "</speak>"
    )
    assert [(each.requested, each.used) for each in read.adjustments] == [("break of 8s", "4s")]


def test_words_after_a_break_point_into_the_document_as_it_was_sent() -> None:
    text = '<speak>Hello <break time="1000000s"/> there</speak>'
    normalised = document(text).text
    at = normalised.text.index("there")
    start, end = normalised.span(at, at + 5)
    assert text[start:end] == "there"


def test_reading_breaks_takes_time_by_length_only() -> None:
    hostile = "<speak>a<!--" + "<break time " * 16_000 + "--></speak>"
    assert document(hostile).text.text == hostile


@pytest.mark.parametrize(
    ("text", "characters"),
    [
        ("<speak>One two three</speak>", 13),
        ('<speak>\n  One <break time="1s"/> two\n</speak>', 7),
        ('<speak><sub alias="World Wide Web">WWW</sub> &amp; me</speak>', 19),
    ],
)
def test_markup_is_not_spoken(text: str, characters: int) -> None:
    assert document(text).characters == characters


@pytest.mark.parametrize(("text", "speakable"), [("a", True), ("7", True), ("👍", True), ("…—!\n", False), ("", False)])
def test_speakable(text: str, speakable: bool) -> None:
    assert is_speakable(text) is speakable
