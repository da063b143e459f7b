"""Tones keep their pitch, level and length; what the target cannot carry is gone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.voice.audio.resample import Resampler
from services.voice.domain import Samples


def tone(hertz: float, rate: int, seconds: float = 0.5) -> Samples:
    return np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate).astype(np.float32)


def convert(samples: Samples, source: int, target: int, block: int = 1000) -> Samples:
    resampler = Resampler(source, target)
    parts = [resampler.convert(samples[start : start + block]) for start in range(0, len(samples), block)]
    return np.concatenate([*parts, resampler.finish()])


def inner(samples: Samples) -> Samples:
    """Leave out the edges, where the tone begins and ends suddenly."""
    return samples[len(samples) // 4 : -len(samples) // 4]


@pytest.mark.parametrize("target", [8000, 16000, 24000, 44100, 48000, 11987])
def test_a_tone_is_the_same_tone_at_another_rate(target: int) -> None:
    error = inner(convert(tone(1000, 22050), 22050, target)) - inner(tone(1000, target))
    assert 20 * np.log10(np.abs(error).max()) < -70


def test_what_lies_above_the_new_nyquist_frequency_is_removed() -> None:
    assert 20 * np.log10(np.abs(inner(convert(tone(5000, 22050), 22050, 8000))).max()) < -70


@settings(deadline=None)
@given(st.integers(1, 3000), st.sampled_from([8000, 16000, 24000, 47999]))
def test_the_length_is_the_ratio_of_the_rates(count: int, target: int) -> None:
    assert len(convert(np.zeros(count, np.float32), 22050, target)) == -(-count * target // 22050)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 700))
def test_blocks_make_no_difference(block: int) -> None:
    samples = np.random.default_rng(7).uniform(-1, 1, 2000).astype(np.float32)
    assert np.allclose(convert(samples, 22050, 16000, block), convert(samples, 22050, 16000, 2000), atol=1e-6)


def test_the_same_rate_changes_nothing() -> None:
    samples = tone(440, 22050)
    assert np.array_equal(convert(samples, 22050, 22050), samples)


def test_memory_does_not_grow_with_the_stream() -> None:
    resampler = Resampler(22050, 24000)
    for _ in range(50):
        resampler.convert(np.zeros(5000, np.float32))
    assert len(resampler._history) < 200
