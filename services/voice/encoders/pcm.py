"""Raw samples, and WAV around them."""

import struct

import numpy as np
from numpy.typing import NDArray

from services.voice.domain import Samples

LARGEST = 0xFFFFFFFF
"""Size fields of a WAV file whose end is not known yet, as players of live streams expect."""


def to_int16(samples: Samples) -> NDArray[np.int16]:
    """Return 16-bit samples; what is beyond full scale is clipped."""
    clipped: NDArray[np.int16] = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype("<i2")
    return clipped


class PcmEncoder:
    """Little-endian samples without a header."""

    slow = False

    def __init__(self, *, floating: bool) -> None:
        self._floating = floating

    def start(self) -> bytes:
        """Return nothing: there is no header."""
        return b""

    def encode(self, samples: Samples) -> bytes:
        """Return the samples as bytes."""
        return samples.astype("<f4").tobytes() if self._floating else to_int16(samples).tobytes()

    def finish(self) -> bytes:
        """Return nothing: all is sent."""
        return b""


class WavEncoder:
    """16-bit mono WAV with sizes that say "until the end"."""

    slow = False

    def __init__(self, sample_rate: int) -> None:
        self._sample_rate = sample_rate

    def start(self) -> bytes:
        """Return the 44 bytes before the samples."""
        rate = self._sample_rate
        layout = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
        return struct.pack("<4sI4s", b"RIFF", LARGEST, b"WAVE") + layout + struct.pack("<4sI", b"data", LARGEST)

    def encode(self, samples: Samples) -> bytes:
        """Return the samples as bytes."""
        return to_int16(samples).tobytes()

    def finish(self) -> bytes:
        """Return nothing: all is sent."""
        return b""
