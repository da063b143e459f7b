"""Every format is one valid stream, whatever the blocks."""

import io
import struct

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from services.voice.domain import AudioFormat, Samples
from services.voice.encoders.factory import Encoders

SECONDS = 2.0
FILES = [AudioFormat.WAV, AudioFormat.FLAC, AudioFormat.OGG_OPUS, AudioFormat.MP3]


def tone(rate: int) -> Samples:
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(round(rate * SECONDS)) / rate)).astype(np.float32)


def encoded(audio_format: AudioFormat, rate: int, block: int = 700) -> list[bytes]:
    encoder, samples = Encoders().create(audio_format, rate), tone(rate)
    blocks = [encoder.encode(samples[start : start + block]) for start in range(0, len(samples), block)]
    return [encoder.start(), *blocks, encoder.finish()]


def decoded(audio_format: AudioFormat, data: bytes, rate: int) -> NDArray[np.float64]:
    if audio_format is AudioFormat.FLAC:
        data = with_flac_length(data, round(rate * SECONDS))
    samples, found_rate = soundfile.read(io.BytesIO(data))
    assert found_rate == rate
    return np.asarray(samples)


def with_flac_length(data: bytes, samples: int) -> bytes:
    """Fill in what a stream cannot know (36 bits at byte 21): libsndfile, unlike players, wants it."""
    return data[:21] + bytes([data[21] & 0xF0]) + struct.pack(">I", samples) + data[26:]


@pytest.mark.parametrize("rate", [8000, 24000, 48000])
@pytest.mark.parametrize(
    "audio_format",
    [AudioFormat.WAV, AudioFormat.FLAC, AudioFormat.OGG_OPUS, AudioFormat.MP3],
    ids=lambda each: each.name,
)
def test_a_file_decodes_to_the_same_length(audio_format: AudioFormat, rate: int) -> None:
    samples = decoded(audio_format, b"".join(encoded(audio_format, rate)), rate)
    spare_s = 0.2 if audio_format is AudioFormat.MP3 else 0.001  # MP3 has whole frames and the encoder's delay
    assert len(samples) / rate == pytest.approx(SECONDS, abs=spare_s)


@pytest.mark.parametrize("audio_format", [AudioFormat.WAV, AudioFormat.FLAC], ids=lambda each: each.name)
def test_lossless_formats_lose_nothing(audio_format: AudioFormat) -> None:
    samples = decoded(audio_format, b"".join(encoded(audio_format, 22050)), 22050)
    assert np.abs(samples - tone(22050)).max() <= 1 / 32768


@pytest.mark.parametrize("audio_format", list(AudioFormat), ids=lambda each: each.name)
def test_bytes_come_while_the_stream_goes_on(audio_format: AudioFormat) -> None:
    blocks = encoded(audio_format, 24000, block=2400)[1:-1]
    assert sum(bool(block) for block in blocks) >= len(blocks) // 4


def test_opus_pages_are_short_enough_for_a_conversation() -> None:
    first = next(index for index, block in enumerate(encoded(AudioFormat.OGG_OPUS, 48000, block=480)[1:]) if block)
    assert first * 0.01 <= 0.1


@pytest.mark.parametrize(("audio_format", "size"), [(AudioFormat.PCM_S16LE, 2), (AudioFormat.PCM_F32LE, 4)])
def test_raw_samples_have_no_header(audio_format: AudioFormat, size: int) -> None:
    assert len(b"".join(encoded(audio_format, 8000))) == size * len(tone(8000))


def test_a_live_wav_has_the_largest_sizes() -> None:
    header = encoded(AudioFormat.WAV, 8000)[0]
    assert header[4:8] == header[40:44] == b"\xff" * 4


@pytest.mark.parametrize(
    ("audio_format", "wanted", "rate"),
    [
        (AudioFormat.OGG_OPUS, 22050, 24000),
        (AudioFormat.OGG_OPUS, 44100, 48000),
        (AudioFormat.MP3, 9000, 11025),
        (AudioFormat.FLAC, 22051, 22051),
    ],
)
def test_a_rate_the_format_does_not_know_becomes_the_next_higher(
    audio_format: AudioFormat, wanted: int, rate: int
) -> None:
    assert Encoders().rate_for(audio_format, wanted) == rate
