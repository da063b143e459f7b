"""Is a file fit to clone a voice from?"""

import io
from collections.abc import Iterator

import numpy as np
import soundfile
from numpy.typing import NDArray

from servekit.errors import Violation

MIN_S, MAX_S = 3.0, 30.0
FORMATS = ("WAV", "FLAC", "OGG", "MP3")
QUIETEST = 0.005
"""Root mean square of the louder half below which nobody speaks, about -46 dB."""
FRAME_S = 0.02
_MOST_RATE_HZ = 192_000


def faults(clip: bytes) -> Iterator[Violation]:
    """Yield what is wrong with a clip: format, length, silence."""
    try:
        with soundfile.SoundFile(io.BytesIO(clip)) as file:
            if file.format not in FORMATS:
                yield Violation("clip", f"is a {file.format} file; accepted are {', '.join(FORMATS)}")
            elif file.samplerate > _MOST_RATE_HZ:
                yield Violation("clip", f"has {file.samplerate} samples a second; at most {_MOST_RATE_HZ} are accepted")
            elif not MIN_S <= (seconds := file.frames / file.samplerate) <= MAX_S:
                yield Violation("clip", f"lasts {seconds:.1f} s; {MIN_S:g} to {MAX_S:g} s are accepted")
            elif not _has_speech(file.read(dtype="float32", always_2d=True).mean(axis=1), file.samplerate):
                yield Violation("clip", "is silent; a voice is needed")
    except soundfile.LibsndfileError:
        yield Violation("clip", f"is not an audio file; accepted are {', '.join(FORMATS)}")


def _has_speech(samples: NDArray[np.float32], sample_rate: int) -> bool:
    frame = round(FRAME_S * sample_rate)
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame)
    levels = np.sqrt((frames**2).mean(axis=1))
    return float(np.percentile(levels, 75)) > QUIETEST
