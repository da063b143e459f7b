"""Making voices from clips: what is asked is checked in full, then given to an engine that can."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn

from servekit.errors import InvalidRequest, Violation
from services.voice.catalog import Catalog
from services.voice.domain import CannotClone, Voice
from services.voice.ports import Capabilities
from services.voice.voices import VoiceBook

MAX_CLIP_BYTES = 20 * 1024 * 1024
_ID = re.compile(r"[a-z0-9_-]{1,64}")
MAX_NAME = 128

ClipFaults = Callable[[bytes], Iterable[Violation]]


@dataclass(frozen=True, slots=True)
class VoiceWanted:
    """The voice that a caller wants to have made."""

    id: str
    name: str
    model: str
    languages: tuple[str, ...]
    consent: bool


class Cloning:
    """Creates and deletes voices."""

    def __init__(
        self, catalog: Catalog, capabilities: Mapping[str, Capabilities], book: VoiceBook, clip_faults: ClipFaults
    ) -> None:
        self._catalog = catalog
        self._capabilities = capabilities
        self._book = book
        self._clip_faults = clip_faults

    def create(self, wanted: VoiceWanted, clip: bytes) -> NoReturn:
        """Check everything. Raises `InvalidRequest` with every violation, `UnknownModel`, else `CannotClone`.

        No engine family clones yet; the one that does gets the clip here.
        """
        violations = [*_faults(wanted), *(self._clip_faults(clip) if clip else [_NO_CLIP])]
        if violations:
            raise InvalidRequest(violations)
        if wanted.model:
            self._catalog.get(wanted.model)
        who = f"{wanted.model} cannot" if wanted.model else "no model of this catalog can"
        able = ", ".join(self._able()) or "none of this catalog; add one with the capability `cloning`, such as XTTS"
        raise CannotClone(f"{who} make voices from clips; models that can: {able}")

    def delete(self, voice_id: str) -> NoReturn:
        """Refuse: all voices are built in. Raises `UnknownVoice`, `CannotClone`."""
        voice: Voice = self._book.get(voice_id)
        raise CannotClone(f"{voice.id} is built in and stays; only voices made by CreateVoice can be deleted")

    def _able(self) -> list[str]:
        return [model for model, can in self._capabilities.items() if can.cloning]


_NO_CLIP = Violation("clip", "is required: a WAV, FLAC, Ogg or MP3 file of 3 to 30 s")


def _faults(wanted: VoiceWanted) -> Iterator[Violation]:
    if not _ID.fullmatch(wanted.id):
        yield Violation("config.id", "must be 1 to 64 of a-z, 0-9, _ and -")
    if len(wanted.name) > MAX_NAME:
        yield Violation("config.display_name", f"must have at most {MAX_NAME} characters")
    if len(wanted.model) > MAX_NAME:
        yield Violation("config.model", f"must be an id of at most {MAX_NAME} characters")
    if not wanted.consent:
        yield Violation("config.consent", "must be true: the speaker has to consent to the cloning")
