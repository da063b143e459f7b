"""The attempts that a passage has, and what of it is out already. Pure but for the engines that are borrowed."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from servekit.errors import Cancelled, EngineFailure, ServingError
from services.voice.domain import Cause, Latents, Remedy, Voice
from services.voice.ports import Capabilities, Engine
from services.voice.script import Passage

PATIENCE_S = 10.0
"""Seconds that a passage beyond all measure waits for its reader before it gives up place and engine half-way."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who speaks, through which engine."""

    engine: Callable[[], Awaitable[Engine]]
    """Borrows the engine, in place of the one that was borrowed before."""
    capabilities: Capabilities
    voice: Voice
    latents: Latents | None = None


Rung = tuple[Remedy | None, Speaker]
"""What changes (nothing at first), and who speaks then."""


@dataclass(slots=True)
class Spoken:
    """A passage while it is being spoken: what of it is out already."""

    passage: Passage
    begins_s: float
    """When it begins in the whole audio, in seconds of engine time."""
    heard: Speaker | None = None
    """Whose samples are out."""
    samples_out: int = 0
    patience_s: float = PATIENCE_S
    """Seconds that its reader may still be waited for before it is halted."""
    words_to: int = 0
    """End of the last word that was announced, in the passage as it was written."""


def is_overcome(failure: ServingError, remedy: Remedy | None) -> bool:
    """An engine that broke may do better next time; a stand-in that cannot even be had was worth a try."""
    stand_in = remedy is Remedy.FALLBACK_ENGINE and not isinstance(failure, Cancelled)
    return stand_in or isinstance(failure, EngineFailure)


def may_go_on(state: Spoken, speaker: Speaker, causes: Sequence[Cause]) -> bool:
    """What has been heard cannot be taken back: then only an engine that says the same again may take over."""
    if state.heard is None:
        return True
    broke_off = not causes or causes[-1] is Cause.ENGINE_FAILURE
    return speaker is state.heard and speaker.capabilities.repeatable and broke_off
