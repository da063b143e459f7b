"""Piper as an engine: a pool of processes, each of which has all voices of the row."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from importlib.util import find_spec

import numpy as np

from servekit.errors import ModelUnavailable
from services.voice.audio.resample import Resampler
from services.voice.domain import EngineSpec, Piece, Roster, Utterance
from services.voice.engines import frames
from services.voice.engines.piper import worker
from services.voice.engines.piper.tasks import Task
from services.voice.engines.piper.voices import VoiceFile, native, roster, voice_files
from services.voice.engines.pool import ProcessPool
from services.voice.engines.process import SpeechProcess
from services.voice.ports import Capabilities

NAME = "piper"
PAUSE_S = 0.2
"""Silence after a sentence, which Piper does not make."""


class Family:
    """Piper engines with `workers` processes each."""

    def __init__(self, *, workers: int) -> None:
        self._workers = workers

    def capabilities(self, spec: EngineSpec) -> Capabilities:
        """Return what Piper can do; its rate is the highest of the row's voices. Raises `CatalogError`."""
        rate = max(file.sample_rate for file in voice_files(spec))
        return Capabilities(sample_rate=rate, streaming=False, rate=True)

    async def roster(self, spec: EngineSpec) -> Roster:
        """Return the voices in the row's folder. Raises `CatalogError`."""
        return roster(spec, voice_files(spec))

    async def load(self, spec: EngineSpec) -> "PiperEngine":
        """Start the processes. Raises `ModelUnavailable` if Piper is not installed, `EngineFailure`."""
        if find_spec("piper") is None:
            raise ModelUnavailable(f"{spec.model} needs Piper: pip install 'atelier-studio[piper]' (GPL-3.0-or-later)")
        files = voice_files(spec)
        pool = ProcessPool(partial(_start, files), self._workers)
        await pool.start()
        return PiperEngine(pool, files)


class PiperEngine:
    """Speaks through a pool, at one sample rate whatever the voice's own."""

    def __init__(self, pool: ProcessPool, files: Sequence[VoiceFile]) -> None:
        self._pool = pool
        self._rate = max(file.sample_rate for file in files)
        self._speakers = {
            native(file, name): (file, file.speakers.get(name)) for file in files for name in file.speakers or [""]
        }

    @property
    def resident_bytes(self) -> int:
        """Memory of all processes."""
        return self._pool.resident_bytes

    async def speak(self, utterance: Utterance) -> AsyncGenerator[Piece, None]:
        """Speak. Waits for an idle process, in the order of arrival. Raises `EngineFailure`."""
        file, speaker = self._speakers[utterance.voice.native]
        task = Task(utterance.text, str(file.path), speaker, slowness=1 / utterance.rate)
        resampler = Resampler(file.sample_rate, self._rate)
        async with self._pool.lent() as process, aclosing(process.speak(task.to_bytes())) as answer:
            async for kind, payload in answer:
                if kind == frames.AUDIO:
                    yield resampler.convert(np.frombuffer(payload, "<f4"))
        yield resampler.finish()
        if utterance.ends_sentence:
            yield np.zeros(round(PAUSE_S * self._rate), np.float32)

    async def close(self) -> None:
        """End all processes."""
        self._pool.close()


async def _start(files: Sequence[VoiceFile]) -> SpeechProcess:
    process, _ = await SpeechProcess.start(NAME, worker.__name__, *(str(file.path) for file in files))
    return process
