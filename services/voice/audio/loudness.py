"""Loudness of speech after ITU-R BS.1770-4, and a stream brought to a target.

The K-weighting is applied to the power spectrum of each gating block instead of in time, which gives the same mean
square up to window edges and needs no recursive filter.
"""

from math import log10
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.voice.audio.gain import limit
from services.voice.domain import Samples

TARGET_LUFS = -16.0
BLOCK_S = 0.4
OVERLAP = 4
ABSOLUTE_GATE_LUFS = -70.0
RELATIVE_GATE_LU = -10.0
KEPT_S = 30.0
"""Seconds of a sentence that its gain is measured by at most: an SSML document is one sentence, however long."""
MOST_GAIN = 8.0
"""Largest amplification, so that near silence is not blown up."""
_NOTHING: Samples = np.empty(0, np.float32)


class LoudnessMeter:
    """Integrated loudness of a mono stream; holds one number for each 100 ms."""

    def __init__(self, sample_rate: int) -> None:
        self._block = round(BLOCK_S * sample_rate)
        self._hop = self._block // OVERLAP
        self._power_weights = k_weighting(np.fft.rfftfreq(self._block, 1 / sample_rate)) * _one_sided(self._block)
        self._rest: Samples = np.empty(0, np.float32)
        self._powers: list[float] = []

    def add(self, samples: Samples) -> None:
        """Measure the next samples."""
        self._rest = np.concatenate((self._rest, samples))
        while len(self._rest) >= self._block:
            self._powers.append(self._power(self._rest[: self._block]))
            self._rest = self._rest[self._hop :]

    def integrated_lufs(self) -> float | None:
        """Return the gated loudness so far; None if there was nothing but silence."""
        powers = np.array(self._powers or [self._power(np.pad(self._rest, (0, self._block - len(self._rest))))])
        loud = powers[powers > _power_of(ABSOLUTE_GATE_LUFS)]
        if not len(loud):
            return None
        gate = _power_of(_loudness(float(loud.mean())) + RELATIVE_GATE_LU)
        return _loudness(float(loud[loud > gate].mean()))

    def _power(self, block: Samples) -> float:
        spectrum = np.abs(np.fft.rfft(block)) ** 2
        return float((spectrum * self._power_weights).sum() / self._block**2)


class LoudnessNormaliser:
    """Brings a stream to the target, sentence by sentence: the gain follows the loudness measured so far.

    It changes at the start of a sentence, where speech is silent. So a sentence is kept until it ends or `KEPT_S` of
    it are there; what follows has the gain of its beginning.
    """

    def __init__(self, sample_rate: int, target_lufs: float = TARGET_LUFS) -> None:
        self._meter = LoudnessMeter(sample_rate)
        self._most_kept = round(KEPT_S * sample_rate)
        self._target_lufs = target_lufs
        self._gain = 1.0
        self._kept: list[Samples] = []
        self._samples_kept = 0
        self._measured = False
        """True if the gain of this sentence is settled."""

    def add(self, samples: Samples) -> Samples:
        """Take the next samples of a sentence, and return those that can be let out."""
        self._meter.add(samples)
        if self._measured:
            return self._amplified(samples)
        self._kept.append(samples)
        self._samples_kept += len(samples)
        if self._samples_kept < self._most_kept:
            return _NOTHING
        self._measured = True
        return self._release()

    def end_sentence(self) -> Samples:
        """Return what was kept of the sentence."""
        self._measured = False
        return self._release() if self._kept else _NOTHING

    def _release(self) -> Samples:
        kept, self._kept, self._samples_kept = np.concatenate(self._kept), [], 0
        loudness = self._meter.integrated_lufs()
        if loudness is not None:
            self._gain = min(MOST_GAIN, 10 ** ((self._target_lufs - loudness) / 20))
        return self._amplified(kept)

    def _amplified(self, samples: Samples) -> Samples:
        return limit(samples * np.float32(self._gain))


def k_weighting(frequencies: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the power response of the two K-weighting filters at `frequencies` in hertz.

    From the analogue prototypes behind the standard's 48 kHz coefficients (B. Mansbridge et al., AES 2012): a high
    shelf of 4 dB at 1682 Hz, Q 0.707, and a high pass at 38 Hz, Q 0.5.
    """
    gain = 10 ** (3.99984385397 / 20)
    shelf_s = 1j * frequencies / 1681.9744509555319
    shelf_q, middle = 0.7071752369554193, gain**0.499666774155
    shelf = (gain * shelf_s**2 + middle / shelf_q * shelf_s + 1) / (shelf_s**2 + shelf_s / shelf_q + 1)
    pass_s = 1j * frequencies / 38.13547087613982
    high_pass = pass_s**2 / (pass_s**2 + pass_s / 0.5003270373253953 + 1)
    response: NDArray[np.float64] = np.abs(shelf * high_pass) ** 2
    return response


def _one_sided(size: int) -> NDArray[np.float64]:
    """Return what each bin of a real transform counts for: the inner ones stand for two."""
    weights = np.full(size // 2 + 1, 2.0)
    weights[0] = 1
    if size % 2 == 0:
        weights[-1] = 1
    return weights


def _loudness(power: float) -> float:
    return -0.691 + 10 * log10(power)


def _power_of(lufs: float) -> float:
    return float(10 ** ((lufs + 0.691) / 10))
