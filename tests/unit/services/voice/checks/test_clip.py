"""A clip must be a sound file of 3 to 30 seconds in which somebody speaks."""

import io

import numpy as np
import pytest
import soundfile

from services.voice.checks.clip import faults

RATE = 16000


def clip(seconds: float, level: float = 0.2, container: str = "WAV") -> bytes:
    noise = np.random.default_rng(1).normal(0, level, round(seconds * RATE))
    file = io.BytesIO()
    soundfile.write(file, noise, RATE, format=container)
    return file.getvalue()


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_good_clip_has_no_faults(container: str) -> None:
    assert list(faults(clip(4, container=container))) == []


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (clip(1), "1.0 s"),
        (clip(31), "31.0 s"),
        (clip(4, level=0.0001), "silent"),
        (clip(4, container="AIFF"), "AIFF"),
        (b"not a sound", "not an audio file"),
        (clip(4)[:30], "not an audio file"),
    ],
    ids=["short", "long", "silent", "format", "junk", "cut off"],
)
def test_a_bad_clip_is_explained(data: bytes, complaint: str) -> None:
    (fault,) = faults(data)
    assert complaint in fault.description
