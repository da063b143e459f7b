"""What speech needs from the outside, as protocols: engines and encoders."""

from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from services.voice.domain import AudioFormat, Clip, EngineSpec, Latents, Piece, Roster, Samples, Utterance


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
    batching: bool = False
    """True if several utterances in one pass cost less than one by one."""
    repeatable: bool = False
    """True if the same text takes the same time again, whatever the seed, so that what broke off can be taken up."""
    max_seconds_per_character: float = 3.0
    """Audio longer than this for its text is a runaway."""

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

        Raises `EngineFailure` when the engine breaks; the engine repairs itself for the next utterance.
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
