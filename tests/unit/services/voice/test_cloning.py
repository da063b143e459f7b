"""Cloning is checked in full, and refused honestly while no engine can."""

import pytest

from servekit.errors import InvalidRequest, Violation
from servekit.residency import UnknownModel
from services.voice.cloning import Cloning, VoiceWanted
from services.voice.domain import CannotClone, UnknownVoice
from tests.unit.services.voice.speaking import CAN, book, shipped

GOOD = VoiceWanted("anna", "Anna", "", ("en",), consent=True)


def cloning(*clip_faults: str) -> Cloning:
    faults = [Violation("clip", each) for each in clip_faults]
    return Cloning(shipped(), {"espeak": CAN}, book(), lambda _: faults)


def test_a_good_request_is_refused_because_nobody_can() -> None:
    with pytest.raises(CannotClone, match="XTTS"):
        cloning().create(GOOD, b"clip")


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (VoiceWanted("", "", "", (), consent=True), "config.id"),
        (VoiceWanted("Anna!", "", "", (), consent=True), "config.id"),
        (VoiceWanted("a" * 65, "", "", (), consent=True), "config.id"),
        (VoiceWanted("anna", "", "", (), consent=False), "config.consent"),
        (VoiceWanted("anna", "n" * 200, "", (), consent=True), "config.display_name"),
        (VoiceWanted("anna", "", "m" * 200, (), consent=True), "config.model"),
    ],
)
def test_a_bad_field_is_named(wanted: VoiceWanted, field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        cloning().create(wanted, b"clip")
    assert [each.field for each in caught.value.violations] == [field]


def test_config_and_clip_are_judged_together() -> None:
    with pytest.raises(InvalidRequest) as caught:
        cloning("is silent").create(VoiceWanted("", "", "", (), consent=False), b"clip")
    assert [each.field for each in caught.value.violations] == ["config.id", "config.consent", "clip"]


def test_a_missing_clip_is_named() -> None:
    with pytest.raises(InvalidRequest, match="clip"):
        cloning().create(GOOD, b"")


def test_an_unknown_model_is_not_found() -> None:
    with pytest.raises(UnknownModel):
        cloning().create(VoiceWanted("anna", "", "harp", (), consent=True), b"clip")


def test_built_in_voices_stay() -> None:
    with pytest.raises(CannotClone, match="built in"):
        cloning().delete("robot/en")


def test_a_voice_that_is_not_there_cannot_be_deleted() -> None:
    with pytest.raises(UnknownVoice):
        cloning().delete("robot/anna")
