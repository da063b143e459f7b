"""A clip must be a sound file of 3 to 30 seconds in which somebody speaks."""

import io

import numpy as np
import pytest
import soundfile

from servekit.errors import InvalidRequest
from services.voice.checks.clip import read
from services.voice.domain import Samples
from tests.unit.services.voice.speaking import babble

RATE = 16000


def noise(seconds: float) -> Samples:
    return np.random.default_rng(1).normal(0, 0.2, round(seconds * RATE)).astype(np.float32)


def hum(seconds: float) -> Samples:
    return (0.3 * np.sin(2 * np.pi * 200 * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def file(samples: Samples, container: str = "WAV", rate: int = RATE, subtype: str | None = None) -> bytes:
    target = io.BytesIO()
    soundfile.write(target, samples, rate, subtype, format=container)
    return target.getvalue()


def streamed(samples: Samples) -> bytes:
    """Return a FLAC file as an encoder writes it that does not know how long it will be."""
    data = file(samples, "FLAC")
    return data[:21] + bytes([data[21] & 0xF0]) + bytes(4) + data[26:]


@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3"])
def test_a_good_clip_is_read(container: str) -> None:
    clip = read(file(babble(4, RATE), container))
    assert clip.sample_rate == RATE
    assert len(clip.samples) == pytest.approx(4 * RATE, rel=0.05)
    assert clip.samples.dtype == np.float32


@pytest.mark.parametrize("seconds", [3, 4, 30])
def test_a_file_that_does_not_tell_its_length_is_read(seconds: float) -> None:
    assert len(read(streamed(babble(seconds, RATE))).samples) == seconds * RATE


def test_stereo_is_mixed() -> None:
    left, right = babble(4, RATE), 0.5 * babble(4, RATE)
    assert np.allclose(read(file(np.stack((left, right), axis=1))).samples, (left + right) / 2, atol=1e-4)


def test_a_voice_in_some_noise_is_heard() -> None:
    assert len(read(file(babble(4, RATE) + 0.05 * noise(4))).samples)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (file(babble(1, RATE)), "1.00 s"),
        (file(babble(31, RATE)), "31.00 s"),
        (streamed(babble(2, RATE)), "after 2.00 s"),
        (streamed(babble(31, RATE)), "more than 30 s"),
        (file(1e-4 * babble(4, RATE)), "silent"),
        (file(noise(4)), "0.0 s of voice"),
        (file(hum(4)), "steady sound"),
        (file(np.concatenate((babble(0.5, RATE), noise(4)))), "s of voice"),
        (file(np.full(4 * RATE, np.nan, np.float32), subtype="FLOAT"), "not finite"),
        (file(babble(4, RATE), "AIFF"), "is a AIFF file; accepted are WAV, FLAC, OGG, MP3"),
        (file(babble(4, 4000), rate=4000), "4000 samples"),
        (file(np.stack([babble(4, RATE)] * 6, axis=1)), "6 channels"),
        (file(babble(4, RATE))[: 44 + 2 * RATE], "s are accepted"),
        (b"not a sound", "not an audio file"),
        (file(babble(4, RATE))[:30], "not an audio file"),
    ],
    ids=[
        "short",
        "long",
        "short stream",
        "long stream",
        "silent",
        "noise",
        "hum",
        "little",
        "nan",
        "format",
        "rate",
        "channels",
        "cut",
        "junk",
        "head",
    ],
)
def test_a_bad_clip_is_explained(data: bytes, complaint: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(data)
    (fault,) = caught.value.violations
    assert fault.field == "clip"
    assert complaint in fault.description


def test_all_that_is_wrong_with_the_format_is_told_at_once() -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(file(np.stack([babble(1, 4000)] * 3, axis=1), "AIFF", rate=4000))
    assert len(caught.value.violations) == 4
