"""Sample-rate conversion of a stream: band-limited interpolation with a windowed sinc, linear phase, any ratio.

After J. O. Smith, "Digital Audio Resampling" (https://ccrma.stanford.edu/~jos/resample/): output sample n is the sum of
the input around time n * source / target, weighted by a Kaiser-windowed sinc whose cut-off lies below the lower of the
two Nyquist frequencies.
"""

from math import ceil, gcd

import numpy as np
from numpy.typing import NDArray

from services.voice.domain import Samples

ZERO_CROSSINGS = 32
KAISER_BETA = 9.0
"""About 90 dB of stop-band attenuation."""
ROLL_OFF = 0.91
"""Cut-off as a share of the lower Nyquist frequency, so that the stop band begins there."""
MOST_PHASES = 1024
INTERPOLATED_PHASES = 512
BLOCK = 4096
"""Output samples computed at a time."""


class Resampler:
    """Converts one stream from `source` to `target` hertz. Silence is assumed before and after it."""

    def __init__(self, source: int, target: int) -> None:
        divisor = gcd(source, target)
        self._source, self._target = source // divisor, target // divisor
        cutoff = ROLL_OFF * min(1.0, target / source) if source != target else 1.0
        self._reach = ceil(ZERO_CROSSINGS / cutoff)
        self._exact = self._target <= MOST_PHASES
        self._phases = self._target if self._exact else INTERPOLATED_PHASES
        self._bank = _filter_bank(self._phases, self._reach, cutoff)
        self._history: Samples = np.zeros(self._reach - 1, np.float32)
        self._history_at = 1 - self._reach
        self._produced = 0

    def convert(self, samples: Samples) -> Samples:
        """Return the output that the input so far determines."""
        if self._source == self._target:
            return samples
        self._history = np.concatenate((self._history, samples))
        end = self._history_at + len(self._history)
        ready = self._outputs_before(end - self._reach)
        blocks = [self._block(first, min(ready, first + BLOCK)) for first in range(self._produced, ready, BLOCK)]
        self._produced = max(ready, self._produced)
        self._forget()
        return np.concatenate(blocks) if blocks else np.empty(0, np.float32)

    def finish(self) -> Samples:
        """Return the rest: in all, ceil(input * target / source) samples."""
        if self._source == self._target:
            return np.empty(0, np.float32)
        return self.convert(np.zeros(self._reach, np.float32))

    def _outputs_before(self, input_position: int) -> int:
        return max(0, ceil(input_position * self._target / self._source))

    def _block(self, first: int, end: int) -> Samples:
        """Return the output samples `first` to `end`."""
        times = np.arange(first, end, dtype=np.int64) * self._source
        starts = times // self._target - self._reach + 1 - self._history_at
        windows = np.lib.stride_tricks.sliding_window_view(self._history, 2 * self._reach)[starts]
        phases = (times % self._target) * (self._phases / self._target)
        whole = phases.astype(np.int64)
        weights = self._bank[whole]
        if not self._exact:
            fraction = (phases - whole).astype(np.float32)[:, np.newaxis]
            weights = weights + fraction * (self._bank[whole + 1] - weights)
        result: Samples = np.einsum("nt,nt->n", windows, weights)
        return result

    def _forget(self) -> None:
        """Drop the input that no later output needs."""
        needed_from = self._produced * self._source // self._target - self._reach + 1
        if needed_from > self._history_at:
            self._history = self._history[needed_from - self._history_at :]
            self._history_at = needed_from


def _filter_bank(phases: int, reach: int, cutoff: float) -> NDArray[np.float32]:
    """Return the weights, shape (phases + 1, 2 * reach): row p for an output p / phases after an input sample."""
    distance = np.arange(phases + 1)[:, np.newaxis] / phases + reach - 1 - np.arange(2 * reach)
    inside = np.clip(1 - (distance / reach) ** 2, 0, None)
    window = np.i0(KAISER_BETA * np.sqrt(inside)) / np.i0(KAISER_BETA)
    weights = cutoff * np.sinc(cutoff * distance) * window
    bank: NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return bank
