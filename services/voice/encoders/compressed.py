"""FLAC, Opus and MP3 through libsndfile, taken out of its hands as soon as it writes."""

from typing import Any

import soundfile

from services.voice.domain import AudioFormat, Samples
from services.voice.encoders.pcm import to_int16

OPUS_PAGE_MS = 60.0
"""How much audio an Ogg page holds; libsndfile's own choice is a second."""
_SET_OGG_PAGE_LATENCY_MS = 0x1302
"""`SFC_SET_OGG_PAGE_LATENCY_MS` of sndfile.h."""
_KINDS = {
    AudioFormat.FLAC: ("FLAC", "PCM_16"),
    AudioFormat.OGG_OPUS: ("OGG", "OPUS"),
    AudioFormat.MP3: ("MP3", "MPEG_LAYER_III"),
}

_OPTIONS: dict[AudioFormat, dict[str, Any]] = {
    # Without the frame that gives its length, players can tell where an MP3 ends only from a constant bit rate.
    AudioFormat.MP3: {"bitrate_mode": "CONSTANT", "compression_level": 0.4},
}
_MP3_HEADER_BYTES = 4


class SndfileEncoder:
    """One stream. What libsndfile wants to correct in bytes already sent (lengths) stays as it was: unknown."""

    slow = True

    def __init__(self, audio_format: AudioFormat, sample_rate: int) -> None:
        self._sink = _Sink()
        self._integers = audio_format is AudioFormat.FLAC
        container, subtype = _KINDS[audio_format]
        self._file = soundfile.SoundFile(
            self._sink, "w", sample_rate, 1, subtype, format=container, **_OPTIONS.get(audio_format, {})
        )
        if audio_format is AudioFormat.OGG_OPUS:
            _set_page_latency(self._file)

    def start(self) -> bytes:
        """Return what is written before the first sample."""
        return self._sink.take()

    def encode(self, samples: Samples) -> bytes:
        """Return the pages or frames that are complete."""
        self._file.write(to_int16(samples) if self._integers else samples)
        return self._sink.take()

    def finish(self) -> bytes:
        """Return the rest."""
        self._file.close()
        return self._sink.take()


def _set_page_latency(file: Any) -> None:
    """Call what python-soundfile has no method for; see docs/decisions/0034-opus-pages.md."""
    latency = soundfile._ffi.new("double*", OPUS_PAGE_MS)
    soundfile._snd.sf_command(file._file, _SET_OGG_PAGE_LATENCY_MS, latency, soundfile._ffi.sizeof("double"))


class _Sink:
    """A file that only grows and forgets what was taken from it."""

    def __init__(self) -> None:
        self._taken = 0
        self._fresh = bytearray()
        self._at = 0

    def take(self) -> bytes:
        """Return what was written since the last call."""
        data = bytes(self._fresh)
        self._taken += len(data)
        self._fresh.clear()
        return data

    def write(self, data: bytes) -> int:
        size, data = len(data), bytes(data)
        first = self._at == self._taken == 0
        if first and size > _MP3_HEADER_BYTES and not any(data[_MP3_HEADER_BYTES:]):
            self._taken = size  # room for the frame that gives an MP3's length, which would come too late
        kept = data[max(0, self._taken - self._at) :]
        start = self._at + size - len(kept) - self._taken
        self._fresh[start : start + len(kept)] = kept
        self._at += size
        return size

    def seek(self, offset: int, whence: int = 0) -> int:
        origin = (0, self._at, self._taken + len(self._fresh))[whence]
        self._at = origin + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int) -> bytes:
        raise OSError(f"this file can only be written; asked for {size} bytes")
