"""What the server and an espeak process say to each other, in espeak's own terms."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Task:
    """What a process is to speak, in espeak's own units."""

    text: str
    voice: str
    words_per_minute: int
    pitch: int
    """0 to 100, 50 is normal."""
    ssml: bool
    pause_after: bool

    def to_bytes(self) -> bytes:
        """Return the payload of a `SPEAK` frame."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, payload: bytes) -> Self:
        """Read the payload of a `SPEAK` frame."""
        return cls(**json.loads(payload))


@dataclass(frozen=True, slots=True)
class NativeVoice:
    """A voice as espeak lists it."""

    identifier: str
    name: str
    languages: tuple[tuple[int, str], ...]
    """Priority (lower is better) and tag."""
    gender: int
    """1 male, 2 female, 0 unknown."""


@dataclass(frozen=True, slots=True)
class Ready:
    """What a process says when it can speak."""

    sample_rate: int
    voices: tuple[NativeVoice, ...]

    def to_bytes(self) -> bytes:
        """Return the payload of a `READY` frame."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, payload: bytes) -> Self:
        """Read the payload of a `READY` frame."""
        raw: dict[str, Any] = json.loads(payload)
        voices = (
            NativeVoice(**{**each, "languages": tuple((rank, tag) for rank, tag in each["languages"])})
            for each in raw["voices"]
        )
        return cls(raw["sample_rate"], tuple(voices))
