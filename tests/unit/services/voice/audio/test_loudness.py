"""The meter reads what the standard says; a stream is brought to the target."""

import numpy as np
import pytest

from services.voice.audio.gain import amplify
from services.voice.audio.loudness import KEPT_S, LoudnessMeter, LoudnessNormaliser
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


def spoken(normaliser: LoudnessNormaliser, sentence: Samples) -> Samples:
    """Hand a sentence over as engines do, in pieces."""
    pieces = np.array_split(sentence, 7)
    return np.concatenate([*map(normaliser.add, pieces), normaliser.end_sentence()])


def test_sentences_are_brought_to_the_target() -> None:
    normaliser = LoudnessNormaliser(24000)
    sentences = [spoken(normaliser, tone(500, level, 24000)) for level in (-28, -27, -29)]
    assert measured(np.concatenate(sentences), 24000) == pytest.approx(-16, abs=1.0)


def test_a_short_sentence_is_measured_too() -> None:
    assert measured(spoken(LoudnessNormaliser(24000), tone(997, -30, 24000, 0.2)), 24000) > -25


def test_a_sentence_is_kept_until_it_ends() -> None:
    normaliser = LoudnessNormaliser(8000)
    assert not len(normaliser.add(tone(997, -30, 8000)))
    assert len(normaliser.end_sentence()) == 3 * 8000


def test_of_a_sentence_without_end_no_more_is_kept_than_its_gain_is_measured_by() -> None:
    normaliser, piece = LoudnessNormaliser(8000), tone(997, -30, 8000)
    out = [len(normaliser.add(piece)) for _ in range(14)]
    assert out == [0] * 9 + [round(KEPT_S * 8000)] + [len(piece)] * 4


def test_the_gain_does_not_change_in_the_midst_of_a_long_sentence() -> None:
    normaliser, quiet, loud = LoudnessNormaliser(8000), tone(997, -30, 8000, KEPT_S), tone(997, -26, 8000)
    gain = np.abs(normaliser.add(quiet)).max() / np.abs(quiet).max()
    assert np.allclose(normaliser.add(loud), loud * gain, rtol=1e-3)


def test_the_sentence_after_a_long_one_has_a_gain_of_its_own() -> None:
    normaliser = LoudnessNormaliser(8000)
    normaliser.add(tone(997, -30, 8000, KEPT_S))
    assert not len(normaliser.end_sentence())
    assert not len(normaliser.add(tone(997, -26, 8000)))


@pytest.mark.parametrize("factor", [0.0, 0.5, 2.0])
def test_volume_never_reaches_full_scale(factor: float) -> None:
    assert np.abs(amplify(tone(440, 0, 24000), factor)).max() <= 1.0


def test_volume_is_exact_where_there_is_room() -> None:
    samples = tone(440, -20, 24000)
    assert np.allclose(amplify(samples, 2.0), samples * 2)


def test_loud_peaks_are_bent_not_cut() -> None:
    ramp = np.linspace(0, 0.6, 1000, dtype=np.float32)
    assert (np.diff(amplify(ramp, 2.0)) > 0).all()
