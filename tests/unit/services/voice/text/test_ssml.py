"""Only whole SSML documents reach an engine."""

import pytest

from services.voice.text.speakable import is_speakable
from services.voice.text.ssml import fault


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


@pytest.mark.parametrize(("text", "speakable"), [("a", True), ("7", True), ("👍", True), ("…—!\n", False), ("", False)])
def test_speakable(text: str, speakable: bool) -> None:
    assert is_speakable(text) is speakable
