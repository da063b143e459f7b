"""Voices made from clips, without holding up the event loop; the latents of those in use stay in memory."""

from collections import OrderedDict
from collections.abc import Collection, Sequence
from concurrent.futures import Executor
from functools import partial

from services.voice.domain import Latents, Voice, VoiceUnusable
from services.voice.ports import VoiceStore
from services.voice.threads import in_thread


class Clones:
    """The store as the rest of the service sees it: only voices of `models`, at most `resident` latents in memory."""

    def __init__(self, store: VoiceStore, threads: Executor, models: Collection[str], *, resident: int) -> None:
        self._store = store
        self._threads = threads
        self._models = models
        self._resident = resident
        self._in_memory: OrderedDict[str, Latents] = OrderedDict()

    async def near(self, owner: str, voice_id: str) -> Sequence[Voice]:
        """Return the voice of this name that the owner may use, or, if there is none, all that he may use."""
        found = await in_thread(self._threads, partial(self._store.find, owner, voice_id))
        return (found,) if found and found.model in self._models else await self.listed(owner)

    async def listed(self, owner: str) -> Sequence[Voice]:
        """Return all voices that the owner may use."""
        found = await in_thread(self._threads, partial(self._store.listed, owner))
        return [each for each in found if each.model in self._models]

    async def latents(self, voice: Voice) -> Latents | None:
        """Return what an engine needs for a voice, None for a built-in one. Raises `VoiceUnusable`."""
        if not voice.cloned:
            return None
        found = await self.known(voice.native)
        if found is None:
            raise VoiceUnusable(f"what is kept of {voice.id!r} is incomplete; delete it and make it again")
        return found

    async def known(self, key: str) -> Latents | None:
        """Return the latents kept under a key, None if there are none. Raises `VoiceUnusable`."""
        if key not in self._in_memory:
            found = await in_thread(self._threads, partial(self._store.latents, key))
            if found is None:
                return None
            self._in_memory[key] = found
        self._in_memory.move_to_end(key)
        if len(self._in_memory) > self._resident:
            self._in_memory.popitem(last=False)
        return self._in_memory[key]

    async def check(self, owner: str, voice_id: str, *, shared: bool) -> None:
        """Raise what `add` would raise for a voice of this name."""
        await in_thread(self._threads, partial(self._store.check, owner, voice_id, shared=shared))

    async def add(self, owner: str, voice: Voice, latents: Latents, *, consent: bool) -> None:
        """Keep a voice. Raises `VoiceTaken`, `TooManyVoices`, `VoiceUnusable`."""
        await in_thread(self._threads, partial(self._store.add, owner, voice, latents, consent=consent))

    async def remove(self, owner: str, voice_id: str) -> None:
        """Forget a voice. Raises `UnknownVoice`, `NotYours`."""
        found = await in_thread(self._threads, partial(self._store.find, owner, voice_id))
        await in_thread(self._threads, partial(self._store.remove, owner, voice_id))
        if found:
            self._in_memory.pop(found.native, None)
