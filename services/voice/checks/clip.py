"""Is a file fit to clone a voice from?"""

import io
from collections.abc import Iterator

import numpy as np
import soundfile
from numpy.typing import NDArray

from servekit.errors import InvalidRequest, Violation
from services.voice.domain import Clip, Samples

MIN_S, MAX_S = 3.0, 30.0
FORMATS = ("WAV", "FLAC", "OGG", "MP3")
_KINDS_OF_WAV = ("WAVEX", "RF64")
"""What libsndfile calls a WAV with an extensible header, or one of 64-bit lengths."""
_NO_LENGTH = 2**63 - 1
"""Frames that libsndfile tells for a file that does not say how many it has."""
MAX_CHANNELS = 2
MIN_RATE_HZ, MAX_RATE_HZ = 8000, 192_000

FRAME_S = 0.04
"""Two periods of the lowest voice."""
PITCH_HZ = (60, 400)
VOICED = 0.5
"""Autocorrelation at the pitch from which a frame is a voice; noise stays below 0.25."""
QUIETEST = 0.005
"""Root mean square below which a frame is silent, about -46 dB."""
MIN_VOICED_S = 1.0
SWING_DB = 6.0
"""Levels of speech rise and fall by more than this with its syllables; those of a hum do not."""


class _File(soundfile.SoundFile):  # type: ignore[misc]
    """Read from its beginning only, for libsndfile cannot seek in a FLAC file that does not tell its length."""

    def seekable(self) -> bool:
        """Say no, so that the place after what was read is not looked for."""
        return False


def read(data: bytes) -> Clip:
    """Return a file's audio, mixed to mono. Raises `InvalidRequest` with what is wrong with it."""
    try:
        with _File(io.BytesIO(data)) as file:
            if violations := list(_format_faults(file)):
                raise InvalidRequest(violations)
            rate = int(file.samplerate)
            samples = file.read(int(MAX_S * rate) + 1, dtype="float32", always_2d=True).mean(axis=1)
    except soundfile.LibsndfileError:
        raise InvalidRequest([Violation("clip", f"is not an audio file; accepted are {_listing()}")]) from None
    if violations := list(_content_faults(samples, rate)):
        raise InvalidRequest(violations)
    return Clip(samples, rate)


def _format_faults(file: soundfile.SoundFile) -> Iterator[Violation]:
    if file.format not in (*FORMATS, *_KINDS_OF_WAV):
        yield Violation("clip", f"is a {file.format} file; accepted are {_listing()}")
    if file.channels > MAX_CHANNELS:
        yield Violation("clip", f"has {file.channels} channels; mono and stereo are accepted")
    if not MIN_RATE_HZ <= file.samplerate <= MAX_RATE_HZ:
        accepted = f"{MIN_RATE_HZ} to {MAX_RATE_HZ} are accepted"
        yield Violation("clip", f"has {file.samplerate} samples a second; {accepted}")
    if file.frames != _NO_LENGTH and not MIN_S <= (seconds := file.frames / file.samplerate) <= MAX_S:
        yield Violation("clip", f"lasts {seconds:.2f} s; {MIN_S:g} to {MAX_S:g} s are accepted")


def _content_faults(samples: Samples, rate: int) -> Iterator[Violation]:
    if len(samples) < MIN_S * rate:
        yield Violation("clip", f"breaks off after {len(samples) / rate:.2f} s; at least {MIN_S:g} s are needed")
    elif len(samples) > MAX_S * rate:
        yield Violation("clip", f"lasts more than {MAX_S:g} s; {MIN_S:g} to {MAX_S:g} s are accepted")
    elif not np.isfinite(samples).all():
        yield Violation("clip", "has samples that are not finite numbers")
    elif fault := _speech_fault(samples, rate):
        yield Violation("clip", fault)


def _speech_fault(samples: Samples, rate: int) -> str:
    """Return why this is no speech, empty if it is: sound, much of it with a pitch, in syllables."""
    size = round(FRAME_S * rate)
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    levels = np.sqrt((frames**2).mean(axis=1))
    loud = levels > QUIETEST
    if not loud.any():
        return "is silent; a voice is needed"
    voiced = _periodicity(frames[loud], rate) > VOICED
    if voiced.sum() * FRAME_S < MIN_VOICED_S:
        return f"has {voiced.sum() * FRAME_S:.1f} s of voice; at least {MIN_VOICED_S:g} s are needed"
    quiet, high = np.percentile(levels, (10, 90))
    if high < 10 ** (SWING_DB / 20) * quiet:
        return "has a steady sound and no speech"
    return ""


def _periodicity(frames: NDArray[np.float32], rate: int) -> NDArray[np.floating]:
    """Return how periodic each frame is at the pitch of a voice, 0 to 1: the peak of its autocorrelation.

    Corrected for the shrinking overlap of a frame with itself (P. Boersma, "Accurate short-term analysis of the
    fundamental frequency", 1993, without a window).
    """
    size = frames.shape[1]
    centred = frames - frames.mean(axis=1, keepdims=True)
    spectrum = np.fft.rfft(centred, 2 * size)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[:, :size]
    shortest, longest = rate // PITCH_HZ[1], rate // PITCH_HZ[0]
    overlap = 1 - np.arange(shortest, longest) / size
    peaks = (correlation[:, shortest:longest] / overlap).max(axis=1)
    return np.asarray(peaks / np.maximum(correlation[:, 0], 1e-12))


def _listing() -> str:
    return ", ".join(FORMATS)
