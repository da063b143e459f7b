"""The meter reads what the standard says; a stream is brought to the target."""

import numpy as np
import pytest

from services.voice.audio.gain import amplify
from services.voice.audio.loudness import LoudnessMeter, LoudnessNormaliser
from services.voice.domain import Samples


def tone(hertz: float, level_db: float, rate: int, seconds: float = 3.0) -> Samples:
    wave = np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)
    return (wave * 10 ** (level_db / 20)).astype(np.float32)


def measured(samples: Samples, rate: int) -> float:
    meter = LoudnessMeter(rate)
    meter.add(samples)
    value = meter.integrated_lufs()
    assert value is not None
    return value


@pytest.mark.parametrize("rate", [22050, 24000, 48000])
def test_a_full_scale_tone_of_997_hertz_reads_minus_3(rate: int) -> None:
    """BS.1770-4: 0 dB FS, 997 Hz, one channel: -3.01 LKFS."""
    assert measured(tone(997, 0, rate), rate) == pytest.approx(-3.01, abs=0.05)


def test_the_reading_follows_the_level() -> None:
    assert measured(tone(997, -20, 48000), 48000) == pytest.approx(-23.01, abs=0.05)


def test_silence_between_words_does_not_count() -> None:
    speech = tone(997, -20, 24000)
    assert measured(np.concatenate((speech, np.zeros(72000, np.float32))), 24000) == pytest.approx(-23.0, abs=0.5)


def test_nothing_but_silence_has_no_loudness() -> None:
    meter = LoudnessMeter(24000)
    meter.add(np.zeros(24000, np.float32))
    assert meter.integrated_lufs() is None


def test_sentences_are_brought_to_the_target() -> None:
    normaliser = LoudnessNormaliser(24000)
    sentences = [normaliser.apply(tone(500, level, 24000)) for level in (-28, -27, -29)]
    assert measured(np.concatenate(sentences), 24000) == pytest.approx(-16, abs=1.0)


def test_a_short_sentence_is_measured_too() -> None:
    assert measured(LoudnessNormaliser(24000).apply(tone(997, -30, 24000, 0.2)), 24000) > -25


@pytest.mark.parametrize("factor", [0.0, 0.5, 2.0])
def test_volume_never_reaches_full_scale(factor: float) -> None:
    assert np.abs(amplify(tone(440, 0, 24000), factor)).max() <= 1.0


def test_volume_is_exact_where_there_is_room() -> None:
    samples = tone(440, -20, 24000)
    assert np.allclose(amplify(samples, 2.0), samples * 2)


def test_loud_peaks_are_bent_not_cut() -> None:
    ramp = np.linspace(0, 0.6, 1000, dtype=np.float32)
    assert (np.diff(amplify(ramp, 2.0)) > 0).all()
