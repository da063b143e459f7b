"""The values that speech is about. Plain data: no gRPC, no engine."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from servekit.device import DevicePlan
from servekit.errors import AlreadyExists, NotFound, PermissionDenied, PreconditionFailed

Samples = NDArray[np.float32]
"""Mono audio, shape (n,), -1 to 1."""

Latents = Mapping[str, NDArray[np.float32]]
"""What an engine made of a clip to speak with its voice, by names of its own."""

CLONE_ID = re.compile(r"[a-z0-9_-]{1,64}")
"""What a voice made from a clip may be called."""


class UnknownVoice(NotFound):
    """Nobody here has this voice."""

    reason = "UNKNOWN_VOICE"


class VoiceTaken(AlreadyExists):
    """The caller has, or everybody has, a voice of this name."""


class NotYours(PermissionDenied):
    """The voice stays: it is built in, or somebody else's."""


class CannotClone(PreconditionFailed):
    """No engine of the catalog makes voices from clips."""


class TooManyVoices(PreconditionFailed):
    """The caller has as many voices as he may have."""


class VoiceUnusable(PreconditionFailed):
    """What is kept of a voice cannot be read or written."""


class AudioFormat(Enum):
    """Encoding of the audio; the value is its media type."""

    WAV = "audio/wav"
    PCM_S16LE = "audio/L16"
    PCM_F32LE = "audio/x-pcm-f32le"
    FLAC = "audio/flac"
    OGG_OPUS = "audio/ogg; codecs=opus"
    MP3 = "audio/mpeg"


class Cause(Enum):
    """Why an attempt at a sentence was rejected."""

    SILENT = "silent"
    CLIPPED = "clipped"
    NON_FINITE = "non_finite"
    TOO_LONG = "too_long"
    ENGINE_FAILURE = "engine_failure"


class Remedy(Enum):
    """What changes in the next attempt."""

    NEXT_SEED = "next_seed"
    FALLBACK_ENGINE = "fallback_engine"


class Degenerate(Exception):
    """An engine's output is no speech. Never leaves the service: a retry or `OutputRejected` follows."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.value)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Voice:
    """Somebody or something that can speak."""

    id: str
    name: str
    model: str
    languages: tuple[str, ...]
    """BCP 47 tags in lower case, the voice's own first."""
    gender: str = ""
    native: str = ""
    """What the engine calls it; for a voice made from a clip, the key of its latents."""
    created: datetime | None = None
    """When it was made from a clip; None for a built-in voice."""
    shared: bool = False
    """True if it was made from a clip and everybody may use it."""

    @property
    def cloned(self) -> bool:
        """True if it was made from a clip."""
        return self.created is not None


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording of the person whose voice is to be made."""

    samples: Samples
    sample_rate: int
    """Hertz, as it was recorded."""


@dataclass(frozen=True, slots=True)
class Roster:
    """The voices of one engine, and which of them speaks a language unless asked otherwise."""

    voices: tuple[Voice, ...]
    defaults: Mapping[str, str] = field(default_factory=dict)
    """Voice id by BCP 47 tag in lower case."""


@dataclass(frozen=True, slots=True)
class Placement:
    """On which devices an engine runs, and why."""

    model: str
    mode: str
    """The engine's own word for it."""
    plan: DevicePlan
    """The device that does most of its work, with the reason for the mode."""
    before: str = ""
    """The mode that failed; empty if this is the first."""


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """What a row of the catalog tells an engine."""

    model: str
    source: str
    """Where its data or weights come from."""
    default_voices: Mapping[str, str] = field(default_factory=dict)
    """Voice id by BCP 47 tag, where the engine's own choice is to be overruled."""


@dataclass(frozen=True, slots=True)
class AudioConfig:
    """What the audio is to be like. Factors are 1 for unchanged."""

    format: AudioFormat = AudioFormat.WAV
    sample_rate: int | None = None
    """Hertz; None means the engine's own."""
    rate: float = 1.0
    pitch: float = 1.0
    volume: float = 1.0
    normalize_loudness: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """A valid request: who speaks and how. The text comes apart from it."""

    model: str
    voice: Voice
    language: str
    audio: AudioConfig = AudioConfig()
    seed: int | None = None
    word_times: bool = False
    ssml: bool = False


@dataclass(frozen=True, slots=True)
class Utterance:
    """A sentence, or as much of one as an engine takes at once."""

    text: str
    voice: Voice
    language: str
    seed: int
    rate: float = 1.0
    pitch: float = 1.0
    ssml: bool = False
    ends_sentence: bool = True
    """False if the same sentence goes on in the next utterance: no pause is due."""
    ahead: bool = False
    """True if an earlier one of the same text is being heard: this is to give way to all who are listened to."""
    latents: Latents | None = field(default=None, repr=False, compare=False)
    """What the engine's own `clone` returned, if the voice was made from a clip; None for its built-in voices."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word that an engine spoke: where in its text, in code points, and when, in seconds from its beginning."""

    offset: int
    length: int
    start_s: float


Piece = Samples | Word
"""What an engine yields, in any order that suits it; a word may come before or after its audio."""


@dataclass(frozen=True, slots=True)
class Flush:
    """A caller's wish to hear what he has sent so far, complete sentence or not."""


TextPart = str | Flush


@dataclass(frozen=True, slots=True)
class Adjustment:
    """A requested value that was changed to something supported."""

    field: str
    requested: str
    used: str
    reason: str


# ---- events of a synthesis, in the order in which they happen ----


@dataclass(frozen=True, slots=True)
class Queued:
    """The request waits behind `position` others, for about `eta_s` seconds (0 when unknown)."""

    position: int
    eta_s: float


@dataclass(frozen=True, slots=True)
class Loading:
    """The engine is being loaded; `fraction` runs from 0 to 1."""

    model: str
    fraction: float


@dataclass(frozen=True, slots=True)
class Header:
    """The audio begins."""

    format: AudioFormat
    sample_rate: int
    voice: str
    model: str
    language: str


@dataclass(frozen=True, slots=True)
class Audio:
    """The next bytes of the audio; `offset` counts from 0."""

    data: bytes
    offset: int


@dataclass(frozen=True, slots=True)
class WordSpoken:
    """A word's place in the whole text (code points) and its time in the whole audio (seconds)."""

    offset: int
    length: int
    start_s: float


@dataclass(frozen=True, slots=True)
class Retried:
    """Attempt `attempt` (from 1) at a sentence was bad and another begins."""

    cause: Cause
    remedy: Remedy
    attempt: int


@dataclass(frozen=True, slots=True)
class Summary:
    """The end of a synthesis. Times in seconds."""

    model: str
    voice: str
    audio_s: float
    first_audio_s: float
    total_s: float
    work_s: float
    characters: int
    sentences: int
    attempts: int
    audio_bytes: int
    stages: tuple[tuple[str, float], ...]
    adjustments: tuple[Adjustment, ...]


Event = Queued | Loading | Header | Audio | WordSpoken | Retried | Summary
