"""What speech needs from the outside, as protocols: engines and encoders."""

from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from services.voice.domain import AudioFormat, Clip, EngineSpec, Latents, Piece, Roster, Samples, Utterance, Voice


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do."""

    sample_rate: int
    """Hertz of the samples it yields."""
    streaming: bool
    """True if the first samples come before the last are computed."""
    word_times: bool = False
    ssml: bool = False
    rate: bool = False
    pitch: bool = False
    cloning: bool = False
    """True if its engine is a `Cloner`."""
    languages: tuple[str, ...] = ()
    """BCP 47 tags, in lower case, of the voices it makes from clips; built-in voices have tags of their own."""
    batch: int = 1
    """Utterances that it speaks in one pass, for less than one by one; the later ones of a text are begun early."""
    repeatable: bool = False
    """True if the same text takes the same time again, whatever the seed, so that what broke off can be taken up."""
    max_seconds_per_character: float = 3.0
    """Audio longer than this for its text is a runaway."""

    @property
    def batching(self) -> bool:
        """True if several utterances share a pass."""
        return self.batch > 1

    def names(self) -> tuple[str, ...]:
        """Return the abilities as words, for lists."""
        flags = ("streaming", "word_times", "ssml", "rate", "pitch", "cloning", "batching")
        return ("text_to_speech", *(flag for flag in flags if getattr(self, flag)))


class Engine(Protocol):
    """A loaded engine. It copes with as many `speak` at once as requests come; what it cannot do at once it queues."""

    @property
    def resident_bytes(self) -> int:
        """Bytes it takes, measured."""

    def speak(self, utterance: Utterance) -> AsyncGenerator[Piece, None]:
        """Speak, yielding pieces as they are made. Closing the generator stops the work.

        Raises `EngineFailure` when the engine breaks; the engine repairs itself for the next utterance. Raises
        `VoiceUnusable` for latents that it cannot take.
        """

    async def close(self) -> None:
        """Give everything back; return when it is gone."""


@runtime_checkable
class Cloner(Protocol):
    """What an engine is, too, whose capabilities say `cloning`."""

    async def clone(self, clip: Clip) -> Latents:
        """Return what `speak` needs to speak with the clip's voice: `Utterance.latents`, at any later time.

        The clip was checked: 3 to 30 s, with speech. Raises `EngineFailure`.
        """


class VoiceStore(Protocol):
    """Keeps voices made from clips, each for its owner alone or for all. Blocks: it is called in threads."""

    def find(self, owner: str, voice_id: str) -> Voice | None:
        """Return the owner's voice of this name, else everybody's."""

    def listed(self, owner: str) -> Sequence[Voice]:
        """Return the owner's voices and everybody's, without those that `find` would not return."""

    def check(self, owner: str, voice_id: str, *, shared: bool) -> None:
        """Raise what `add` would raise for a voice of this name."""

    def add(self, owner: str, voice: Voice, latents: Latents, *, consent: bool) -> None:
        """Keep a voice: wholly or, after a crash, not at all. Raises `VoiceTaken`, `TooManyVoices`, `VoiceUnusable`."""

    def remove(self, owner: str, voice_id: str) -> None:
        """Forget a voice and its latents. Raises `UnknownVoice`, `NotYours`."""

    def latents(self, key: str) -> Latents | None:
        """Return the latents kept under a key, None if there are none. Raises `VoiceUnusable`."""


ReadClip = Callable[[bytes], Clip]
"""Decodes and checks a file. Raises `InvalidRequest` with everything that is wrong with it. Blocks."""


class Family(Protocol):
    """Makes engines of one kind. Cheap to create; loads nothing by itself."""

    def capabilities(self, spec: EngineSpec) -> Capabilities:
        """Return what the engine can do, without loading it."""

    async def roster(self, spec: EngineSpec) -> Roster:
        """Return the built-in voices, without leaving anything loaded."""

    def load(self, spec: EngineSpec) -> Coroutine[None, None, Engine]:
        """Load the engine. Cancelling stops the load with nothing left behind."""


class Encoder(Protocol):
    """Turns samples into one stream of bytes of a file format: `start`, any number of `encode`, `finish`."""

    @property
    def slow(self) -> bool:
        """True if it takes so long that it should not run on the event loop."""

    def start(self) -> bytes:
        """Return the header; may be empty."""

    def encode(self, samples: Samples) -> bytes:
        """Return the bytes that are ready now; may be empty."""

    def finish(self) -> bytes:
        """Return what is left."""


class EncoderFactory(Protocol):
    """Chooses and makes encoders."""

    def rate_for(self, audio_format: AudioFormat, wanted: int) -> int:
        """Return the sample rate nearest to `wanted`, not below if possible, that the format supports."""

    def create(self, audio_format: AudioFormat, sample_rate: int) -> Encoder:
        """Make an encoder for one stream of mono audio."""


class Inspector(Protocol):
    """Looks at one attempt at one utterance as it streams by."""

    def accept(self, samples: Samples) -> Samples:
        """Return what may be heard now; may hold audio back. Raises `Degenerate`."""

    def finish(self) -> Samples:
        """Return what was held back. Raises `Degenerate`."""


Inspect = Callable[[Utterance, Capabilities], Inspector]
"""Makes an inspector for one attempt."""
