"""espeak as an engine: a pool of processes, each lent to one utterance at a time."""

import math
import unicodedata
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from itertools import takewhile

import numpy as np

from servekit.errors import EngineFailure
from services.voice.domain import EngineSpec, Piece, Roster, Samples, Utterance, Word
from services.voice.engines import frames
from services.voice.engines.espeak import worker
from services.voice.engines.espeak.tasks import Ready, Task
from services.voice.engines.espeak.voices import roster
from services.voice.engines.pool import ProcessPool
from services.voice.engines.process import SpeechProcess
from services.voice.ports import Capabilities

NAME = "espeak"
SAMPLE_RATE = 22050
WORDS_PER_MINUTE = 175
"""espeak's own normal speed."""
FULL_SCALE = np.float32(1 / 32768)
_LONGEST_WORD = 100
_APOSTROPHES = "'\u2019"


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
        process, ready = await _start(self._buffer_ms)
        process.kill()
        return roster(spec.model, ready.voices, spec.default_voices)

    async def load(self, spec: EngineSpec) -> "EspeakEngine":
        """Start the processes."""
        pool = ProcessPool(partial(_started, self._buffer_ms), self._workers)
        await pool.start()
        return EspeakEngine(pool)


class EspeakEngine:
    """Speaks through a pool."""

    def __init__(self, pool: ProcessPool) -> None:
        self._pool = pool

    @property
    def resident_bytes(self) -> int:
        """Memory of all processes."""
        return self._pool.resident_bytes

    @property
    def pids(self) -> frozenset[int]:
        """Ids of the processes."""
        return self._pool.pids

    async def speak(self, utterance: Utterance) -> AsyncGenerator[Piece, None]:
        """Speak. Waits for an idle process, in the order of arrival. Raises `EngineFailure`."""
        task = _task(utterance).to_bytes()
        spoken_to = 0
        async with self._pool.lent() as process, aclosing(process.speak(task)) as answer:
            async for kind, payload in answer:
                if kind == frames.AUDIO:
                    yield _samples(payload)
                    continue
                word = _measured(Word(*frames.WORD_PAYLOAD.unpack(payload)), utterance.text)
                if word.offset >= spoken_to and word.length > 0:  # a number has one event for each word it is read as
                    spoken_to = word.offset + word.length
                    yield word

    async def close(self) -> None:
        """End all processes."""
        self._pool.close()


async def _start(buffer_ms: int) -> tuple[SpeechProcess, Ready]:
    process, ready = await SpeechProcess.start(NAME, worker.__name__, str(buffer_ms))
    return process, Ready.from_bytes(ready)


async def _started(buffer_ms: int) -> SpeechProcess:
    process, ready = await _start(buffer_ms)
    if ready.sample_rate != SAMPLE_RATE:
        process.kill()
        raise EngineFailure(f"espeak speaks at {ready.sample_rate} Hz instead of {SAMPLE_RATE}")
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


def _measured(word: Word, text: str) -> Word:
    """Return a word with the length that espeak does not tell before a dash without spaces, 0 if none is there."""
    if word.length:
        return word
    run = takewhile(_is_of_word, text[word.offset : word.offset + _LONGEST_WORD])
    return replace(word, length=len("".join(run).rstrip(_APOSTROPHES)))


def _is_of_word(character: str) -> bool:
    """Tell letters, marks, digits and apostrophes."""
    return character in _APOSTROPHES or unicodedata.category(character)[0] in "LMN"


def _samples(payload: bytes) -> Samples:
    return np.frombuffer(payload, dtype="<i2").astype(np.float32) * FULL_SCALE
