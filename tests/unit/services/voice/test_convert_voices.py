"""Requests for voices are refused with everything that is wrong; voices become messages."""

from datetime import UTC, datetime
from typing import Any

import pytest

from atelier.voice.v1 import voice_service_pb2 as wire
from servekit.errors import InvalidRequest
from services.voice import convert_voices
from services.voice.cloning import MAX_CLIP_BYTES, VoiceWanted
from services.voice.domain import Voice
from tests.unit.services.voice.speaking import voice

ANNA = Voice("anna", "Anna", "robot", ("en",), native="key", created=datetime(2026, 11, 21, tzinfo=UTC))


def test_a_voice_made_from_a_clip_as_a_message() -> None:
    message = convert_voices.voice(ANNA)
    assert (message.id, message.cloned, message.shared) == ("anna", True, False)
    assert message.created.ToDatetime(UTC) == ANNA.created


def test_what_is_asked_of_a_new_voice_is_read() -> None:
    wanted = convert_voices.voice_wanted(
        wire.CreateVoiceRequest(
            config=wire.CreateVoiceConfig(id="anna", languages=["pt-BR"], consent=True, shared=True, model="m")
        )
    )
    assert wanted == VoiceWanted("anna", "", "m", ("pt-BR",), consent=True, shared=True)


@pytest.mark.parametrize(
    ("config", "field"),
    [({"languages": ["en", "?"]}, "config.languages[1]"), ({"model": "m" * 200}, "config.model")],
)
def test_a_bad_field_of_a_new_voice_is_named(config: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        convert_voices.voice_wanted(wire.CreateVoiceRequest(config=wire.CreateVoiceConfig(**config)))
    assert [each.field for each in caught.value.violations] == [field]


def test_a_voice_as_a_message() -> None:
    message = convert_voices.voice(voice("robot", "pt-br", "pt-br", "pt"))
    assert (message.id, list(message.languages), message.cloned) == ("robot/pt-br", ["pt-br", "pt"], False)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (wire.ListVoicesRequest(language="not a tag"), "language"),
        (wire.ListVoicesRequest(model="m" * 200), "model"),
    ],
)
def test_a_bad_filter_is_named(request_: wire.ListVoicesRequest, field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        convert_voices.check_filter(request_)
    assert [each.field for each in caught.value.violations] == [field]


def test_a_clip_that_grows_too_large_is_refused() -> None:
    part = wire.CreateVoiceRequest(clip=b"12")
    assert convert_voices.clip_part(part, MAX_CLIP_BYTES - 2) == b"12"
    with pytest.raises(InvalidRequest, match=str(MAX_CLIP_BYTES)):
        convert_voices.clip_part(part, MAX_CLIP_BYTES - 1)
