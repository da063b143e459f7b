"""espeak as an engine: a pool of processes, each lent to one utterance at a time."""

import asyncio
import math
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import numpy as np

from servekit.errors import EngineFailure
from services.voice.domain import EngineSpec, Piece, Roster, Samples, Utterance, Word
from services.voice.engines.espeak import frames
from services.voice.engines.espeak.frames import Task
from services.voice.engines.espeak.process import EspeakProcess
from services.voice.engines.espeak.voices import roster
from services.voice.ports import Capabilities

SAMPLE_RATE = 22050
WORDS_PER_MINUTE = 175
"""espeak's own normal speed."""
FULL_SCALE = np.float32(1 / 32768)


class Family:
    """espeak-ng engines with `workers` processes each; `buffer_ms` is how soon the first audio leaves a process."""

    def __init__(self, *, workers: int, buffer_ms: int) -> None:
        self._workers = workers
        self._buffer_ms = buffer_ms

    def capabilities(self, spec: EngineSpec) -> Capabilities:
        """Return what espeak can do."""
        return Capabilities(
            sample_rate=SAMPLE_RATE,
            streaming=True,
            word_times=True,
            ssml=True,
            rate=True,
            pitch=True,
            repeatable=True,
        )

    async def roster(self, spec: EngineSpec) -> Roster:
        """Ask a process for its voices and end it."""
        process, ready = await EspeakProcess.start(self._buffer_ms)
        process.kill()
        return roster(spec.model, ready.voices, spec.default_voices)

    async def load(self, spec: EngineSpec) -> "EspeakEngine":
        """Start the processes."""
        engine = EspeakEngine(self._workers, self._buffer_ms)
        try:
            await engine.start()
        except BaseException:
            await engine.close()
            raise
        return engine


class EspeakEngine:
    """The pool. A process that breaks is replaced before its place is lent again."""

    def __init__(self, workers: int, buffer_ms: int) -> None:
        self._workers = workers
        self._buffer_ms = buffer_ms
        self._processes: set[EspeakProcess] = set()
        self._idle: deque[EspeakProcess | None] = deque()
        self._places = asyncio.Semaphore(workers)  # first come, first served, which asyncio.Queue is not

    async def start(self) -> None:
        """Start all processes."""
        for _ in range(self._workers):
            self._idle.append(await self._start_one())

    @property
    def resident_bytes(self) -> int:
        """Memory of all processes."""
        return sum(process.resident_bytes for process in self._processes)

    @property
    def pids(self) -> frozenset[int]:
        """Ids of the processes."""
        return frozenset(process.pid for process in self._processes)

    async def speak(self, utterance: Utterance) -> AsyncGenerator[Piece, None]:
        """Speak. Waits for an idle process, in the order of arrival. Raises `EngineFailure`."""
        task = _task(utterance)
        spoken_to = 0
        async with self._lent() as process, aclosing(process.speak(task)) as answer:
            async for kind, payload in answer:
                if kind == frames.AUDIO:
                    yield _samples(payload)
                    continue
                word = Word(*frames.WORD_PAYLOAD.unpack(payload))
                if word.offset >= spoken_to and word.length > 0:  # a number has one event for each word it is read as
                    spoken_to = word.offset + word.length
                    yield word

    async def close(self) -> None:
        """End all processes."""
        for process in self._processes:
            process.kill()
        self._processes.clear()

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[EspeakProcess]:
        """Lend a process; a place whose process died gets a new one first."""
        async with self._places:
            process = self._idle.popleft()
            try:
                if process is None or not process.alive:
                    process = await self._replace(process)
                yield process
            finally:
                self._idle.append(process)

    async def _replace(self, dead: EspeakProcess | None) -> EspeakProcess:
        if dead is not None:
            dead.kill()
            self._processes.discard(dead)
        return await self._start_one()

    async def _start_one(self) -> EspeakProcess:
        process, ready = await EspeakProcess.start(self._buffer_ms)
        if ready.sample_rate != SAMPLE_RATE:
            process.kill()
            raise EngineFailure(f"espeak speaks at {ready.sample_rate} Hz instead of {SAMPLE_RATE}")
        self._processes.add(process)
        return process


def _task(utterance: Utterance) -> Task:
    """Translate factors into espeak's units; its pitch is an exponent, 50 steps to the octave."""
    return Task(
        text=utterance.text,
        voice=utterance.voice.native,
        words_per_minute=round(WORDS_PER_MINUTE * utterance.rate),
        pitch=round(min(100.0, max(0.0, 50 + 50 * math.log2(utterance.pitch)))),
        ssml=utterance.ssml,
        pause_after=utterance.ends_sentence,
    )


def _samples(payload: bytes) -> Samples:
    return np.frombuffer(payload, dtype="<i2").astype(np.float32) * FULL_SCALE
