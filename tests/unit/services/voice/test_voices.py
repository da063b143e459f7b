"""Who is meant, and who speaks a language unless asked otherwise."""

import pytest

from servekit.residency import UnknownModel
from services.voice.catalog import CatalogError
from services.voice.domain import UnknownVoice
from tests.unit.services.voice.speaking import book, row, voice


def test_voices_are_listed_by_id() -> None:
    assert [each.id for each in book().listed()] == ["robot/de", "robot/en", "robot/pt-br"]


@pytest.mark.parametrize(("language", "ids"), [("pt", ["robot/pt-br"]), ("PT-BR", ["robot/pt-br"]), ("xx", [])])
def test_voices_are_listed_by_language(language: str, ids: list[str]) -> None:
    assert [each.id for each in book().listed(language)] == ids


def test_voices_are_listed_by_model() -> None:
    both = book(voice("a"), voice("b"))
    assert [each.id for each in both.listed(model="b")] == ["b/en"]


def test_every_default_voice_has_to_be_there() -> None:
    wrong = row(default_voice="robot/em", default_voices={"de": "robot/dee", "pt": "robot/pt-br"})
    with pytest.raises(CatalogError) as caught:
        book(voice(), voice("robot", "de"), voice("robot", "pt-br"), rows=[wrong])
    first, second = str(caught.value).splitlines()
    assert first.startswith("robot: default_voice: no voice 'robot/em'; nearest are robot/en")
    assert second.startswith("robot: default_voices.de: no voice 'robot/dee'; nearest are robot/de")


def test_an_unknown_model_lists_nothing() -> None:
    with pytest.raises(UnknownModel):
        book().listed(model="nobody")


def test_an_unknown_voice_names_the_nearest() -> None:
    with pytest.raises(UnknownVoice) as caught:
        book().get("robot/end")
    assert caught.value.nearest[0] == "robot/en"


@pytest.mark.parametrize(
    ("language", "chosen"),
    [("", "robot/en"), ("en", "robot/en"), ("de-at", "robot/de"), ("pt", "robot/pt-br"), ("pt-br", "robot/pt-br")],
)
def test_the_default_voice_of_a_language(language: str, chosen: str) -> None:
    found, violations = book().resolve("", "", language)
    assert (found.id, violations) == (chosen, [])


@pytest.mark.parametrize(
    ("model", "voice_id", "language", "fields"),
    [
        ("", "", "xx", ["config.language"]),
        ("", "robot/de", "fr", ["config.language"]),
        ("b", "a/en", "", ["config.voice"]),
        ("b", "a/en", "fr", ["config.voice", "config.language"]),
    ],
)
def test_contradictions_are_all_told(model: str, voice_id: str, language: str, fields: list[str]) -> None:
    both = book(voice("a"), voice("b"), voice("robot", "de"), voice("robot", "en"))
    assert [each.field for each in both.resolve(model, voice_id, language)[1]] == fields
