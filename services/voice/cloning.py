"""Making voices from clips: what is asked is checked in full, then an engine listens to the clip."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import numpy as np

from servekit.errors import EngineFailure, InvalidRequest, OutputRejected, Overloaded, Violation
from servekit.residency import Residency
from services.voice.catalog import Catalog, ModelRow
from services.voice.clones import Clones
from services.voice.domain import (
    CLONE_ID,
    CannotClone,
    Cause,
    Clip,
    Latents,
    NotYours,
    UnknownVoice,
    Voice,
    VoiceTaken,
    VoiceUnusable,
)
from services.voice.ports import Capabilities, Cloner, Engine, ReadClip
from services.voice.threads import in_thread
from services.voice.turns import Calls
from services.voice.voices import MOST_NAMED, VoiceBook, is_spoken

MAX_CLIP_BYTES = 20 * 1024 * 1024
MAX_NAME = 128
MOST_CLIPS = 8
"""Clips that may be on their way at once, which bounds the memory that they take."""
RETRY_S = 5.0


@dataclass(frozen=True, slots=True)
class VoiceWanted:
    """The voice that a caller wants to have made."""

    id: str
    name: str
    model: str
    languages: tuple[str, ...]
    consent: bool
    shared: bool = False


class Cloning:
    """Creates and deletes voices."""

    def __init__(
        self,
        catalog: Catalog,
        capabilities: Mapping[str, Capabilities],
        book: VoiceBook,
        clones: Clones,
        calls: Calls,
        residency: Residency[Engine],
        *,
        read_clip: ReadClip,
        threads: Executor,
        now: Callable[[], datetime],
    ) -> None:
        self._catalog = catalog
        self._capabilities = capabilities
        self._book = book
        self._clones = clones
        self._calls = calls
        self._residency = residency
        self._read_clip = read_clip
        self._threads = threads
        self._now = now
        self._clips = 0

    @contextmanager
    def receiving(self) -> Iterator[None]:
        """Hold one of the places for clips on their way. Raises `Overloaded`."""
        if self._clips >= MOST_CLIPS:
            raise Overloaded(f"{self._clips} clips are on their way already", retry_after_s=RETRY_S)
        self._clips += 1
        try:
            yield
        finally:
            self._clips -= 1

    async def create(self, owner: str, wanted: VoiceWanted, data: bytes) -> Voice:
        """Make a voice that `owner` may use, and everybody if it is shared; return it when it is kept.

        Raises `InvalidRequest` with every violation, `UnknownModel`, `CannotClone`, `VoiceTaken`, `TooManyVoices`,
        `VoiceUnusable`, `OutputRejected`, and what admission and residency raise.
        """
        able = self._able(wanted.model)
        clip = await self._checked(wanted, able, data)
        if not able:
            raise self._nobody_can(wanted.model)
        if self._book.has(wanted.id):
            raise VoiceTaken("voice", wanted.id)
        await self._clones.check(owner, wanted.id, shared=wanted.shared)
        row = self._catalog.get(able[0])
        key = _key(owner, row, data)
        latents = await self._known(key) or await self._latents(row, clip)
        voice = self._voice(wanted, row, key)
        await self._clones.add(owner, voice, latents, consent=wanted.consent)
        return voice

    async def delete(self, owner: str, voice_id: str) -> None:
        """Forget a voice and what was made of its clip. Raises `UnknownVoice`, `NotYours`."""
        if self._book.has(voice_id):
            raise NotYours(f"{voice_id} is built in and stays; only voices made by CreateVoice can be deleted")
        try:
            await self._clones.remove(owner, voice_id)
        except UnknownVoice:
            self._book.get(voice_id, await self._clones.listed(owner))
            raise

    def _able(self, model: str) -> list[str]:
        """Return the models that can clone, of all or of one. Raises `UnknownModel`."""
        models = [self._catalog.get(model).id] if model else list(self._catalog.rows)
        return [each for each in models if self._capabilities[each].cloning]

    def _nobody_can(self, model: str) -> CannotClone:
        who = f"{model} cannot" if model else "no model of this catalog can"
        able = ", ".join(self._able("")) or "none of this catalog; add one with the capability `cloning`, such as XTTS"
        return CannotClone(f"{who} make voices from clips; models that can: {able}")

    async def _checked(self, wanted: VoiceWanted, able: list[str], data: bytes) -> Clip:
        """Return the clip. Raises `InvalidRequest` with what is wrong with it and with all else."""
        violations = list(_faults(wanted, self._capabilities[able[0]].languages if able else ()))
        try:
            clip = await in_thread(self._threads, partial(self._read_clip, data)) if data else None
        except InvalidRequest as bad:
            raise InvalidRequest([*violations, *bad.violations]) from None
        if clip is None:
            violations.append(Violation("clip", "is required: a WAV, FLAC, Ogg or MP3 file of 3 to 30 s"))
        if clip is None or violations:
            raise InvalidRequest(violations)
        return clip

    async def _known(self, key: str) -> Latents | None:
        """Return what was made of the same clip before, unless it cannot be read: then it is made anew."""
        with suppress(VoiceUnusable):
            return await self._clones.known(key)
        return None

    async def _latents(self, row: ModelRow, clip: Clip) -> Latents:
        async with AsyncExitStack() as held:
            held.enter_context(self._calls.opened())
            ticket = await held.enter_async_context(self._calls.place(row.id))
            lease = await held.enter_async_context(self._residency.acquire(row.id))
            ticket.begin()
            if not isinstance(lease.value, Cloner):
                raise EngineFailure(f"{row.id} says that it clones, and has no method for it")
            latents = await lease.value.clone(clip)
        if not all(np.isfinite(each).all() for each in latents.values()):
            raise OutputRejected([Cause.NON_FINITE.value])
        return latents

    def _voice(self, wanted: VoiceWanted, row: ModelRow, key: str) -> Voice:
        return Voice(
            id=wanted.id,
            name=wanted.name or wanted.id,
            model=row.id,
            languages=tuple(tag.lower() for tag in wanted.languages) or self._capabilities[row.id].languages,
            native=key,
            created=self._now(),
            shared=wanted.shared,
        )


def _key(owner: str, row: ModelRow, data: bytes) -> str:
    """Return the name of what a model makes of a clip. Owners share nothing, so none learns what another has."""
    digest = hashlib.sha256()
    for part in (owner.encode(), row.id.encode(), row.source.encode(), data):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _faults(wanted: VoiceWanted, languages: tuple[str, ...]) -> Iterator[Violation]:
    if not CLONE_ID.fullmatch(wanted.id):
        yield Violation("config.id", "must be 1 to 64 of a-z, 0-9, _ and -")
    if len(wanted.name) > MAX_NAME:
        yield Violation("config.display_name", f"must have at most {MAX_NAME} characters")
    if not wanted.consent:
        yield Violation("config.consent", "must be true: the speaker has to consent to the cloning")
    for index, tag in enumerate(wanted.languages):
        if languages and not is_spoken(tag.lower(), languages):
            known = ", ".join(languages[: 2 * MOST_NAMED])
            yield Violation(f"config.languages[{index}]", f"must be one of {known}, not {tag!r}")
