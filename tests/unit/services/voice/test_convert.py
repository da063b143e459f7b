"""Requests are refused with everything that is wrong; events become messages."""

import math
from datetime import UTC, datetime
from typing import Any

import pytest

from atelier.voice.v1 import voice_pb2
from atelier.voice.v1 import voice_service_pb2 as wire
from servekit.errors import InvalidRequest
from servekit.residency import UnknownModel
from services.voice import convert
from services.voice.convert import Reader
from services.voice.domain import (
    Adjustment,
    Audio,
    AudioFormat,
    Cause,
    Event,
    Flush,
    Header,
    Loading,
    Order,
    Queued,
    Remedy,
    Retried,
    Summary,
    UnknownVoice,
    Voice,
    WordSpoken,
)
from services.voice.ports import Capabilities
from tests.unit.services.voice.speaking import CAN, book

READER = Reader(book(), {"robot": CAN})


def request(text: str = "Hello", audio: dict[str, Any] | None = None, **config: Any) -> wire.SynthesizeRequest:
    settings = wire.SynthesisConfig(audio=voice_pb2.AudioConfig(**(audio or {})), **config)
    return wire.SynthesizeRequest(text=text, config=settings)


def order(**values: Any) -> Order:
    return READER.synthesis(request(**values))[1]


def fields(message: wire.SynthesizeRequest, reader: Reader = READER) -> list[str]:
    with pytest.raises(InvalidRequest) as caught:
        reader.synthesis(message)
    return [each.field for each in caught.value.violations]


def test_nothing_but_text_is_needed() -> None:
    found = order()
    assert (found.model, found.voice.id, found.language, found.audio.format) == (
        "robot",
        "robot/en",
        "en",
        AudioFormat.WAV,
    )


def test_what_is_set_is_kept() -> None:
    found = order(
        audio={"format": voice_pb2.AUDIO_FORMAT_FLAC, "sample_rate": 16000, "rate": 1.5, "volume": 0.0},
        language="PT-BR",
        seed=-3,
        word_times=True,
    )
    assert (found.voice.id, found.language, found.seed, found.word_times) == ("robot/pt-br", "pt-br", -3, True)
    assert (found.audio.sample_rate, found.audio.rate, found.audio.volume) == (16000, 1.5, 0.0)


@pytest.mark.parametrize(
    "text",
    ["", "x" * 200_001, "a\0b", "bell\x07", "\x85 only separators", "…!?", " \n\t"],
    ids=["empty", "long", "null", "bell", "next line is fine", "punctuation", "blank"],
)
def test_bad_text(text: str) -> None:
    if text.startswith("\x85"):
        assert READER.synthesis(request(text))[0] == text
    else:
        assert fields(request(text)) == ["text"]


def test_the_longest_text_with_line_breaks_and_tabs_is_accepted() -> None:
    text = ("line\tone\r\n" * 20_000)[:200_000]
    assert READER.synthesis(request(text))[0] == text


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"audio": {"format": 99}}, "config.audio.format"),
        ({"audio": {"sample_rate": 7999}}, "config.audio.sample_rate"),
        ({"audio": {"sample_rate": 0}}, "config.audio.sample_rate"),
        ({"audio": {"rate": 0.4}}, "config.audio.rate"),
        ({"audio": {"pitch": math.nan}}, "config.audio.pitch"),
        ({"audio": {"volume": math.inf}}, "config.audio.volume"),
        ({"audio": {"volume": -0.1}}, "config.audio.volume"),
        ({"language": "not a tag"}, "config.language"),
        ({"language": "e" * 1_000_000}, "config.language"),
        ({"language": "xx"}, "config.language"),
        ({"voice": "v" * 1_000_000}, "config.voice"),
        ({"model": "m" * 129}, "config.model"),
        ({"voice": "robot/de", "language": "en"}, "config.language"),
        ({"text": "<speak>", "ssml": True}, "text"),
        ({"text": "no tags", "ssml": True}, "text"),
    ],
)
def test_a_bad_field_is_named(values: dict[str, Any], field: str) -> None:
    assert fields(request(**values)) == [field]


def test_every_violation_is_named() -> None:
    bad = request("", audio={"sample_rate": 1, "rate": 9, "pitch": -1, "volume": 3, "format": 42}, language="?")
    assert set(fields(bad)) == {
        "text",
        "config.language",
        *(f"config.audio.{name}" for name in ("sample_rate", "rate", "pitch", "volume", "format")),
    }


def test_ssml_needs_an_engine_that_knows_it() -> None:
    reader = Reader(book(), {"robot": Capabilities(sample_rate=22050, streaming=True)})
    assert fields(request("<speak>a</speak>", ssml=True), reader) == ["config.ssml"]


def test_unknown_names_are_not_found() -> None:
    with pytest.raises(UnknownVoice):
        order(voice="robot/fr")
    with pytest.raises(UnknownModel):
        order(model="harp")


def stream_request(**part: Any) -> wire.SynthesizeStreamRequest:
    return wire.SynthesizeStreamRequest(**part)


def test_a_stream_begins_with_its_config() -> None:
    assert READER.stream_config(stream_request(config=wire.SynthesisConfig(language="de"))).voice.id == "robot/de"


@pytest.mark.parametrize(
    ("part", "field"),
    [({"text": "a"}, "config"), ({}, "config"), ({"config": wire.SynthesisConfig(ssml=True)}, "config.ssml")],
)
def test_a_stream_that_begins_otherwise_is_refused(part: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        READER.stream_config(stream_request(**part))
    assert [each.field for each in caught.value.violations] == [field]


def test_parts_of_a_stream() -> None:
    assert convert.text_part(stream_request(text="more")) == "more"
    assert convert.text_part(stream_request(flush=wire.Flush())) == Flush()


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ({"config": wire.SynthesisConfig()}, "config"),
        ({}, "part"),
        ({"text": "x" * 10_001}, "text"),
        ({"text": "\0"}, "text"),
    ],
)
def test_bad_parts_of_a_stream(part: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        convert.text_part(stream_request(**part))
    assert [each.field for each in caught.value.violations] == [field]


SUMMARY = Summary(
    model="m",
    voice="v",
    audio_s=2.0,
    first_audio_s=0.1,
    total_s=1.5,
    work_s=1.0,
    characters=5,
    sentences=1,
    attempts=2,
    audio_bytes=99,
    stages=(("speak", 1.0),),
    adjustments=(Adjustment("f", "1", "2", "why"),),
)


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (Queued(2, 1.5), "queued"),
        (Loading("m", 0.5), "loading"),
        (Header(AudioFormat.WAV, 22050, "v", "m", "en"), "audio"),
        (Audio(b"x", 3), "chunk"),
        (WordSpoken(0, 2, 0.5), "word"),
        (Retried(Cause.SILENT, Remedy.NEXT_SEED, 1), "retry"),
        (SUMMARY, "summary"),
    ],
)
def test_every_event_has_its_message_in_both_methods(event: Event, name: str) -> None:
    assert convert.response(wire.SynthesizeResponse, event).WhichOneof("event") == name
    assert convert.response(wire.SynthesizeStreamResponse, event).WhichOneof("event") == name


def test_the_summary_gives_work_per_audio() -> None:
    summary = convert.response(wire.SynthesizeResponse, SUMMARY).summary
    assert summary.real_time_factor == 0.5
    assert summary.adjustments[0].used == "2"


ANNA = Voice("anna", "Anna", "robot", ("en",), native="key", created=datetime(2026, 11, 21, tzinfo=UTC))


def test_a_voice_made_from_a_clip_can_be_asked_for() -> None:
    _, found = READER.synthesis(request(voice="anna"), [ANNA])
    assert (found.voice, found.model, found.language) == (ANNA, "robot", "en")
    assert READER.stream_config(stream_request(config=wire.SynthesisConfig(voice="anna")), [ANNA]).voice is ANNA
