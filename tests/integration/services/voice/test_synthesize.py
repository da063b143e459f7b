"""Text in, audio out, over real connections."""

import asyncio
import gc
import re
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import psutil
import pytest

from atelier.voice.v1 import voice_pb2
from tests.integration.services.voice.client import heard, reason, request, until, until_idle, violated

if TYPE_CHECKING:
    from atelier.voice.v1.voice_service_pb2_grpc import VoiceServiceAsyncStub

TEXT = "Welcome to the studio. A prompt goes in, a picture comes out."


async def test_events_come_in_order(voice: "VoiceServiceAsyncStub") -> None:
    found = await heard(voice.Synthesize(request(TEXT, word_times=True)))
    assert found.kinds[0] == "audio"
    assert found.kinds[-1] == "summary"
    assert set(found.kinds[1:-1]) == {"chunk", "word"}


async def test_chunks_follow_one_another(voice: "VoiceServiceAsyncStub") -> None:
    found = await heard(voice.Synthesize(request(TEXT)))
    ends = np.cumsum([len(each.data) for each in found.chunks])
    assert [each.offset for each in found.chunks] == [0, *ends[:-1]]
    assert all(0 < len(each.data) <= 65536 for each in found.chunks)


async def test_the_summary_says_what_was_spoken(voice: "VoiceServiceAsyncStub") -> None:
    found = await heard(voice.Synthesize(request(TEXT)))
    summary = found.summary
    assert (summary.model, summary.voice, summary.sentences) == ("espeak", "espeak/en-us", 2)
    assert (summary.characters, summary.audio_bytes) == (len(TEXT), len(found.data))
    assert summary.attempts == 1
    assert 0 < summary.first_audio_seconds < summary.total_seconds
    assert 0 < summary.real_time_factor < 1


async def test_words_point_into_the_text(voice: "VoiceServiceAsyncStub") -> None:
    text = "First one. Dr. Müller & 42 cats, e.g. mine!"
    found = await heard(voice.Synthesize(request(text, word_times=True)))
    spoken = [text[each.text_offset : each.text_offset + each.text_length] for each in found.words]
    assert spoken == ["First", "one", "Dr", "Müller", "&", "42", "cats", "e.g.", "mine"]
    times = [each.start_seconds for each in found.words]
    assert times == sorted(times)
    assert times[-1] < found.summary.audio_seconds


@pytest.mark.parametrize(("language", "text"), [("zh", "１２３"), ("ur", "۱۲۳"), ("ja", "①"), ("en", "⅞")])
async def test_a_number_alone_is_spoken(voice: "VoiceServiceAsyncStub", language: str, text: str) -> None:
    found = await heard(voice.Synthesize(request(text, language=language, word_times=True)))
    assert found.summary.attempts == 1
    first = found.words[0]
    assert text[first.text_offset : first.text_offset + first.text_length] == text


async def test_words_point_into_ssml(voice: "VoiceServiceAsyncStub") -> None:
    text = '<speak>One <!-- > no --> two, <sub alias="World Wide">W&amp;W</sub> caf&#233; <b>five</b>.</speak>'
    found = await heard(voice.Synthesize(request(text, ssml=True, word_times=True)))
    spoken = [text[each.text_offset : each.text_offset + each.text_length] for each in found.words]
    alias = '<sub alias="World Wide">W&amp;W</sub>'
    assert spoken == ["One", "two", alias, "caf&#233;", "five"]
    assert found.summary.characters == len("One two, World Wide café five.")


@pytest.mark.parametrize("rate", [None, 8000, 16000, 48000])
@pytest.mark.parametrize("audio_format", ["WAV", "FLAC", "OGG_OPUS", "MP3"])
async def test_every_format_decodes_to_the_right_length(
    voice: "VoiceServiceAsyncStub", audio_format: str, rate: int | None
) -> None:
    audio = {"format": f"AUDIO_FORMAT_{audio_format}"} | ({"sample_rate": rate} if rate else {})
    found = await heard(voice.Synthesize(request(TEXT, audio)))
    if rate:
        assert found.header.sample_rate == rate
    seconds = len(found.samples()) / found.header.sample_rate
    assert seconds == pytest.approx(found.summary.audio_seconds, abs=0.25 if audio_format == "MP3" else 0.01)


@pytest.mark.parametrize(("audio_format", "size"), [("PCM_S16LE", 2), ("PCM_F32LE", 4)])
async def test_raw_formats_have_samples_only(voice: "VoiceServiceAsyncStub", audio_format: str, size: int) -> None:
    found = await heard(voice.Synthesize(request(TEXT, {"format": f"AUDIO_FORMAT_{audio_format}"})))
    assert len(found.data) == pytest.approx(found.summary.audio_seconds * 22050 * size)


async def test_a_rate_the_format_does_not_know_is_reported(voice: "VoiceServiceAsyncStub") -> None:
    opus = {"format": voice_pb2.AUDIO_FORMAT_OGG_OPUS}
    (change,) = (await heard(voice.Synthesize(request("Hi.", opus | {"sample_rate": 22050})))).summary.adjustments
    assert (change.field, change.requested, change.used) == ("config.audio.sample_rate", "22050", "24000")
    unasked = await heard(voice.Synthesize(request("Hi.", opus)))
    assert (unasked.header.sample_rate, list(unasked.summary.adjustments)) == (24000, [])


@pytest.mark.parametrize("audio_format", ["WAV", "FLAC", "OGG_OPUS", "MP3"])
async def test_seams_between_sentences_do_not_click(voice: "VoiceServiceAsyncStub", audio_format: str) -> None:
    """No step between two samples is larger than speech itself makes inside one sentence."""
    audio = {"format": f"AUDIO_FORMAT_{audio_format}", "sample_rate": 24000}
    one, many = [(await heard(voice.Synthesize(request(text, audio)))).samples() for text in ("Seams.", "Seams. " * 20)]
    assert np.abs(np.diff(many)).max() <= 1.2 * np.abs(np.diff(one)).max()


@pytest.mark.parametrize(
    ("audio_format", "mark", "places"),
    [("WAV", b"RIFF", [0]), ("FLAC", b"fLaC", [0]), ("OGG_OPUS", b"OpusHead", [28]), ("MP3", b"Xing", [])],
)
async def test_no_header_stands_inside_a_stream(
    voice: "VoiceServiceAsyncStub", audio_format: str, mark: bytes, places: list[int]
) -> None:
    """MP3 has none at all: it would say how long the stream is, which nobody knows beforehand."""
    found = await heard(voice.Synthesize(request("One more. " * 20, {"format": f"AUDIO_FORMAT_{audio_format}"})))
    assert [match.start() for match in re.finditer(mark, found.data)] == places


async def test_volume_zero_is_silent_and_no_error(voice: "VoiceServiceAsyncStub") -> None:
    found = await heard(voice.Synthesize(request("Hello.", {"volume": 0.0})))
    assert np.abs(found.samples()).max() == 0


async def test_loudness_is_brought_to_the_target(voice: "VoiceServiceAsyncStub") -> None:
    from services.voice.audio.loudness import LoudnessMeter

    found = await heard(voice.Synthesize(request(TEXT * 3, {"normalize_loudness": True})))
    meter = LoudnessMeter(22050)
    meter.add(found.samples().astype(np.float32))
    assert meter.integrated_lufs() == pytest.approx(-16, abs=1.5)


async def test_ssml(voice: "VoiceServiceAsyncStub") -> None:
    found = await heard(voice.Synthesize(request('<speak>Hello <break time="3s"/> there</speak>', ssml=True)))
    assert found.summary.audio_seconds > 3.5


@pytest.mark.parametrize("time", ["1000s", "10000s", "9999999s", "99999999999999999999s"])
async def test_a_break_lasts_ten_seconds_at_most(voice: "VoiceServiceAsyncStub", time: str) -> None:
    text = f'<speak>Hello <break time="{time}"/> there</speak>'
    found = await heard(voice.Synthesize(request(text, ssml=True, word_times=True)))
    assert found.summary.audio_seconds == pytest.approx(11, abs=0.5)
    assert [(each.field, each.used) for each in found.summary.adjustments] == [("text", "10s")]
    assert found.summary.characters == len("Hello there")
    assert [text[each.text_offset : each.text_offset + each.text_length] for each in found.words] == ["Hello", "there"]


async def test_all_breaks_of_a_document_last_five_minutes_at_most(voice: "VoiceServiceAsyncStub") -> None:
    text = "<speak>" + 'Hello <break time="10s"/> ' * 40 + "there</speak>"
    found = await heard(voice.Synthesize(request(text, ssml=True)))

    assert found.summary.audio_seconds == pytest.approx(300 + 41 * 0.5, abs=10)
    assert [(each.requested, each.used) for each in found.summary.adjustments] == [("break of 10s", "0s")]


async def test_twenty_thousand_letters_are_one_sentence(voice: "VoiceServiceAsyncStub") -> None:
    assert (await heard(voice.Synthesize(request("a" * 20_000)))).summary.sentences == 1


async def test_an_emoji_is_one_word(voice: "VoiceServiceAsyncStub") -> None:
    found = await heard(voice.Synthesize(request("🌍 Hello 🌍", word_times=True)))
    assert [(each.text_offset, each.text_length) for each in found.words] == [(0, 1), (2, 5), (8, 1)]


async def test_the_voice_of_a_language(voice: "VoiceServiceAsyncStub") -> None:
    found = await heard(voice.Synthesize(request("Guten Tag.", language="de")))
    assert (found.header.voice, found.header.language) == ("espeak/de", "de")


async def test_many_at_once(voice: "VoiceServiceAsyncStub") -> None:
    texts = [f"This is stream number {number}." + " More." * number for number in range(8)]
    found = await asyncio.gather(*(heard(voice.Synthesize(request(text))) for text in texts))
    lengths = [each.summary.audio_seconds for each in found]
    assert lengths == sorted(lengths)
    assert [each.summary.characters for each in found] == [len(text) for text in texts]


async def test_a_book_chapter_streams_within_bounded_memory(voice: "VoiceServiceAsyncStub") -> None:
    """100 000 characters, two hours, are never held: not the audio (300 MB), nor a tenth of it."""
    text = ("It was a bright cold day in April, and the clocks were striking thirteen. " * 1400)[:100_000]
    await heard(voice.Synthesize(request("Warm up.")))
    gc.collect()
    process, received = psutil.Process(), 0
    before = highest = process.memory_info().rss
    async for event in voice.Synthesize(request(text)):
        received += len(event.chunk.data)
        highest = max(highest, process.memory_info().rss)
    assert received > 200_000_000
    assert highest - before < 30_000_000


async def test_a_slow_reader_does_not_hold_up_others(voice: "VoiceServiceAsyncStub") -> None:
    text = "A long story for somebody who does not listen. " * 2000
    slow = [voice.Synthesize(request(text)) for _ in range(4)]
    for call in slow:
        await until(aiter(call), "audio")
    async with asyncio.timeout(20):
        assert (await heard(voice.Synthesize(request("Quick.")))).summary.audio_seconds > 0.2
    for call in slow:
        call.cancel()


async def test_cancelling_mid_stream_frees_everything(
    channel: grpc.aio.Channel, voice: "VoiceServiceAsyncStub"
) -> None:
    for _ in range(10):
        call = voice.Synthesize(request("A long story that nobody wants to hear any more. " * 1000))
        await until(aiter(call), "chunk")
        call.cancel()
    assert (await heard(voice.Synthesize(request("Still here.")))).summary.audio_seconds > 0.3
    await until_idle(channel)


@pytest.mark.parametrize(
    ("text", "values", "fields"),
    [
        ("", {}, ["text"]),
        ("x" * 200_001, {}, ["text"]),
        ("...", {}, ["text"]),
        (" \n ", {}, ["text"]),
        ("a\0b", {"language": "?"}, ["text", "config.language"]),
        ("Hi", {"language": "xx-yy"}, ["config.language"]),
        ("Hi", {"audio": {"sample_rate": 1, "rate": 7.0}}, ["config.audio.sample_rate", "config.audio.rate"]),
        ("<speak>", {"ssml": True}, ["text"]),
    ],
)
async def test_bad_requests(
    voice: "VoiceServiceAsyncStub", text: str, values: dict[str, Any], fields: list[str]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await heard(voice.Synthesize(request(text, **values)))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason(caught.value) == "INVALID_REQUEST"
    assert violated(caught.value) == fields


@pytest.mark.parametrize(
    ("values", "why"), [({"voice": "espeak/klingon"}, "UNKNOWN_VOICE"), ({"model": "harp"}, "UNKNOWN_MODEL")]
)
async def test_unknown_names(voice: "VoiceServiceAsyncStub", values: dict[str, Any], why: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await heard(voice.Synthesize(request("Hi", **values)))
    assert (caught.value.code(), reason(caught.value)) == (grpc.StatusCode.NOT_FOUND, why)
