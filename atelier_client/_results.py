"""Puts the events of a stream together. No input or output here: both clients feed the same collectors."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from atelier.common.v1 import decision_pb2, types_pb2
from atelier.imagegen.v1 import image_service_pb2 as image_pb2
from atelier.voice.v1 import voice_pb2, voice_service_pb2
from atelier_client._errors import AtelierError

SpeechEvent = voice_service_pb2.SynthesizeResponse | voice_service_pb2.SynthesizeStreamResponse


@dataclass(frozen=True)
class Picture:
    """A finished picture: the bytes of a file, and what it takes to make it again."""

    header: image_pb2.ImageHeader
    data: bytes

    def save(self, path: str | Path) -> Path:
        """Write the file and return its path."""
        target = Path(path)
        target.write_bytes(self.data)
        return target


@dataclass
class ImageResult:
    """Everything a generation sent, in the order of its kinds."""

    pictures: list[Picture] = field(default_factory=list)
    blocked: list[image_pb2.Blocked] = field(default_factory=list)
    retries: list[image_pb2.Retry] = field(default_factory=list)
    routed: decision_pb2.Routed | None = None
    rewritten: decision_pb2.Rewritten | None = None
    plan: image_pb2.Plan | None = None
    summary: image_pb2.Summary | None = None


class ImageCollector:
    """Collects a generation: feed every event, then take `finish()`."""

    def __init__(self) -> None:
        self._result = ImageResult()
        self._header: image_pb2.ImageHeader | None = None
        self._data = bytearray()

    def feed(self, event: image_pb2.GenerateResponse) -> None:
        """Take one event.

        Raises:
            AtelierError: a picture arrived incomplete or damaged.
        """
        result = self._result
        match event.WhichOneof("event"):
            case "routed":
                result.routed = event.routed
            case "rewritten":
                result.rewritten = event.rewritten
            case "retry":
                result.retries.append(event.retry)
            case "blocked":
                result.blocked.append(event.blocked)
            case "plan":
                result.plan = event.plan
            case "image":
                self._header, self._data = event.image, bytearray()
            case "chunk":
                self._add(event.chunk)
            case "summary":
                result.summary = event.summary

    def _add(self, chunk: types_pb2.Chunk) -> None:
        if self._header is None or chunk.offset != len(self._data):
            raise _damaged("a chunk arrived out of order")
        self._data += chunk.data
        if len(self._data) >= self._header.size_bytes:
            data = bytes(self._data)
            if hashlib.sha256(data).hexdigest() != self._header.sha256:
                raise _damaged("the picture's checksum does not match")
            self._result.pictures.append(Picture(self._header, data))
            self._header = None

    def finish(self) -> ImageResult:
        """Return the result.

        Raises:
            AtelierError: the stream ended early.
        """
        if self._result.summary is None or self._header is not None:
            raise _damaged("the stream ended before the summary")
        return self._result


@dataclass
class SpeechResult:
    """Everything a synthesis sent. `data` is a file of `header.media_type`."""

    header: voice_service_pb2.AudioHeader
    data: bytes
    words: list[voice_pb2.WordTime]
    summary: voice_service_pb2.SpeechSummary

    def save(self, path: str | Path) -> Path:
        """Write the file and return its path. A header that could not know the length of the stream is completed."""
        target = Path(path)
        target.write_bytes(self.file())
        return target

    def file(self) -> bytes:
        """Return the bytes that `save` writes."""
        match self.header.media_type:
            case "audio/wav":
                return _with_wav_sizes(self.data)
            case "audio/flac":
                return _with_flac_length(self.data, round(self.summary.audio_seconds * self.header.sample_rate))
        return self.data


class SpeechCollector:
    """Collects a synthesis: feed every event, then take `finish()`."""

    def __init__(self) -> None:
        self._header: voice_service_pb2.AudioHeader | None = None
        self._summary: voice_service_pb2.SpeechSummary | None = None
        self._words: list[voice_pb2.WordTime] = []
        self._data = bytearray()

    def feed(self, event: SpeechEvent) -> None:
        """Take one event.

        Raises:
            AtelierError: audio arrived out of order.
        """
        match event.WhichOneof("event"):
            case "audio":
                self._header, self._data = event.audio, bytearray()
            case "chunk":
                if event.chunk.offset != len(self._data):
                    raise _damaged("a chunk arrived out of order")
                self._data += event.chunk.data
            case "word":
                self._words.append(event.word)
            case "summary":
                self._summary = event.summary

    def finish(self) -> SpeechResult:
        """Return the result.

        Raises:
            AtelierError: the stream ended early.
        """
        if self._header is None or self._summary is None:
            raise _damaged("the stream ended before the summary")
        return SpeechResult(self._header, bytes(self._data), self._words, self._summary)


def _with_wav_sizes(data: bytes) -> bytes:
    """Return a WAV file whose RIFF and data sizes are true.

    A stream's header cannot know them, so it announces the largest possible. Layout: Microsoft RIFF, `RIFF` size at
    byte 4, the size of the `data` chunk in the four bytes after its name.
    """
    at = data.find(b"data", 12, 4096)
    if data[:4] != b"RIFF" or at < 0:
        return data
    riff, body = len(data) - 8, len(data) - at - 8
    return data[:4] + riff.to_bytes(4, "little") + data[8 : at + 4] + body.to_bytes(4, "little") + data[at + 8 :]


def _with_flac_length(data: bytes, samples: int) -> bytes:
    """Return a FLAC file whose STREAMINFO has the number of samples.

    A 36-bit number that ends with byte 25 of the file; its upper 4 bits share byte 21 (RFC 9639, section 8.2).
    """
    if data[:4] != b"fLaC":
        return data
    field = int.from_bytes(data[21:26], "big") & ~(2**36 - 1) | samples
    return data[:21] + field.to_bytes(5, "big") + data[26:]


def _damaged(message: str) -> AtelierError:
    return AtelierError(code="DATA_LOSS", message=message)
