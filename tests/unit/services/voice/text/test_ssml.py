"""Only whole SSML documents reach an engine, and of their markup only what is harmless."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
        ('<speak>Hi <audio src="/etc/passwd">ding</audio></speak>', "must not have <audio>"),
        ('<speak>Hi <AUDIO SRC="chime.wav"/></speak>', "acted on are speak, p, s, voice"),
        ("<speak>Hi <sub alias='x'><audio src='chime.wav'/></sub></speak>", "must not have <audio>"),
    ],
)
def test_anything_else_is_explained(text: str, complaint: str) -> None:
    assert complaint in fault(text)


@pytest.mark.parametrize(
    ("time", "used", "shortened"),
    [
        ("10s", "10000ms", False),
        ("250ms", "250ms", False),
        ("250", "250ms", False),
        ("&#49;0s", "10000ms", False),
        ("1.5s", "1500ms", False),
        (" .5 s", "500ms", False),
        ("11s", "10000ms", True),
        ("1000s", "10000ms", True),
        ("99999999999999999999s", "10000ms", True),
        ("9" * 1000, "10000ms", True),
    ],
)
def test_a_break_lasts_ten_seconds_at_most(time: str, used: str, shortened: bool) -> None:
    read = document(f'<speak>Hello <break strength="weak" time = "{time}"/> there</speak>')
    assert read.text.text == f'<speak>Hello <break strength="weak" time="{used}"/> there</speak>'
    assert [each.used for each in read.adjustments] == (["10s"] if shortened else [])


def test_of_many_long_breaks_the_first_is_told_and_how_many_there_are() -> None:
    (told,) = document("<speak>a" + "<break time='60s'/>" * 1000 + "</speak>").adjustments
    assert (told.field, told.requested) == ("text", "break of 60s")
    assert told.reason == "a <break> lasts at most 10 s, all of a document 300 s; so 999 more"


def test_all_breaks_of_a_document_last_five_minutes_at_most() -> None:
    read = document("<speak>a" + "<break time='8s'/>" * 40 + "</speak>")
    times = [int(time) for time in re.findall(r'<break time="(\d+)ms"/>', read.text.text)]
    assert times == [8000] * 37 + [4000, 0, 0]
    assert [(each.requested, each.used) for each in read.adjustments] == [("break of 8s", "4s")]


def test_words_after_a_break_point_into_the_document_as_it_was_sent() -> None:
    text = '<speak>Hello <break time="1000000s"/> there</speak>'
    normalised = document(text).text
    at = normalised.text.index("there")
    start, end = normalised.span(at, at + 5)
    assert text[start:end] == "there"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a <!-- > <audio src='x'/> --> b", "a  b"),
        ("a <?x > <audio src='x'/> ?> b", "a  b"),
        ("a <![CDATA[ > <audio src='x'/> ]]> b", "a  > &lt;audio src='x'/>  b"),
        ("A. <b>&#60;audio src='x'/&#62;</b>", "A. <b>&lt;audio src='x'/></b>"),
        ("A. <b>&amp;#60;audio src='x'/></b>", "A. <b>&amp;#60;audio src='x'/></b>"),
        ("a <\u0161udio src='x'/> b", "a    b"),  # the low byte of its first letter is that of an a
        ("a <mark name='x'/><lexicon uri='x'>b</lexicon>", "a    b "),
        ("<metadata>not <b>this</b></metadata>a", "  a"),
        ("<S xml:lang='en' xml:base='/etc' style='x'>a</S>", '<s xml:lang="en">a</s>'),
    ],
)
def test_an_engine_finds_only_harmless_markup(text: str, written: str) -> None:
    assert document(f"<speak xml:base='/'>{text}</speak>").text.text == f"<speak>{written}</speak>"


@pytest.mark.parametrize(
    ("tag", "written"),
    [
        ("break strength='weak time 7000ms'", "<break/>"),  # engines would find a time in it
        ("break time='soon'", "<break/>"),
        ("voice name='../../dev/zero' gender='female'", '<voice gender="female"></voice>'),
        ("voice name='English (America)+f2'", '<voice name="English (America)+f2"></voice>'),
        ("prosody rate='200%' pitch='+2st' volume='x-loud' range='&gt;'",
         '<prosody rate="200%" pitch="+2st" volume="x-loud"></prosody>'),
        ("prosody rate='99999999999999999999'", "<prosody></prosody>"),
        ("emphasis level='bogus'", "<emphasis></emphasis>"),
        ("say-as interpret-as='tts:digits' detail='2'", '<say-as interpret-as="tts:digits" detail="2"></say-as>'),
    ],
)  # fmt: skip
def test_an_attribute_has_a_value_that_is_known(tag: str, written: str) -> None:
    assert document(f"<speak>a<{tag}/></speak>").text.text == f"<speak>a{written}</speak>"


def test_words_point_into_the_document_whatever_stands_between_them() -> None:
    alias = "<sub alias='a &lt; b c'>six <b>7</b></sub>"
    text = (
        "\ufeff<?xml version='1.0'?>\r\n<speak version='1.0'>\r\n<p>One &#233;t\u00e9 <!-- > no --> two</p>"
        f"<![CDATA[three & <four>]]> <unknown>five</unknown> {alias} eight\r\nnine</speak>"
    )
    read = document(text).text
    words = re.finditer(r"\w+", re.sub("<.*?>", _blank, read.text))
    said = "One", "&#233;t\u00e9", "two", "three", "&", "<", "four", "five", *[alias] * 4, "eight", "nine"
    assert tuple(text[slice(*read.span(*word.span()))] for word in words) == said


def _blank(tag: re.Match[str]) -> str:
    return " " * len(tag.group())


@settings(deadline=None)
@given(st.lists(st.sampled_from(["<", ">", "&", "#60;", "audio", " src='x'", "/", "!--", "--", "x", ". ", "]]"])))
def test_text_is_never_markup(pieces: list[str]) -> None:
    said = "".join(pieces).replace("&", "&amp;").replace("<", "&#60;").replace(">", "&gt;")
    written = document(f"<speak>{said}</speak>").text.text.removeprefix("<speak>").removesuffix("</speak>")
    assert "<" not in written
    assert "&#" not in written


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
