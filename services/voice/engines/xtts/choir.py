"""The batch that speaks: rows join, one GPT step serves all, those whose text ends leave, and audio is made on demand.

Runs on the device thread alone.
"""

import logging
from collections.abc import Callable, Sequence

import torch

from servekit.errors import EngineFailure
from services.voice.domain import Samples
from services.voice.engines.xtts.gpt import GptBatch, Heard
from services.voice.engines.xtts.modes import Mode, fallback
from services.voice.engines.xtts.placement import Placed
from services.voice.engines.xtts.rows import Row, Speech
from services.voice.engines.xtts.sampling import Sampler
from services.voice.engines.xtts.vocoder import VocoderStream

logger = logging.getLogger(__name__)

Place = Callable[[Mode], Placed]
"""Loads the checkpoint and places it as a mode says."""


class Choir:
    """Speaks in one device mode until that fails, then in the next; nobody who listens notices.

    `on_fallback` is told the placement that takes over.
    """

    def __init__(self, placed: Placed, place: Place, on_fallback: Callable[[Placed], None]) -> None:
        self.placed = placed
        self.rows: list[Row] = []
        """Those that the GPT goes on with."""
        self._place = place
        self._on_fallback = on_fallback
        self._gpt = GptBatch(placed.gpt)

    def row(self, speech: Speech, emit: Callable[[Samples], None]) -> Row:
        """Return a row that can join; `emit` takes its samples.

        The fill-in token 1 and the start count as said already, since upstream's `generate` sees them in its prompt.
        """
        facts = self.placed.facts
        sampler = Sampler(facts.sampling, speech.seed, facts.vocabulary, seen=(1, facts.start))
        stretch = () if speech.rate == 1 else (1 / speech.rate,)
        vocoder = self.placed.vocoder
        scales = (*stretch, *vocoder.scales)
        stream = VocoderStream(scales, speech.speaker, hop=vocoder.hop, context=vocoder.context)
        return Row(speech, sampler, stream, emit, stop=facts.stop, longest=facts.longest)

    def join(self, rows: Sequence[Row]) -> None:
        """Begin to speak more rows. Raises `EngineFailure`."""
        self.rows += rows
        self._attempt(lambda: self._take(rows, self._gpt.add([row.prompt for row in rows])))

    def step(self) -> None:
        """Speak a token more of every row; those whose text ends leave. Raises `EngineFailure`."""
        codes = [row.codes[-1] for row in self.rows]
        positions = [len(row.codes) for row in self.rows]
        self._attempt(lambda: self._take(self.rows, self._gpt.step(codes, positions)))

    def sing(self, rows: Sequence[Row]) -> None:
        """Make the audio that is due of these rows, which may have left. Raises `EngineFailure`."""
        due = [row for row in rows if row.due]
        if due:
            self._attempt(lambda: self._decode(due))

    def leave(self, row: Row) -> None:
        """Stop speaking a row, unless it has left; what it has said so far it keeps, and it may join again."""
        if row in self.rows:
            with torch.inference_mode():
                self._remove(self.rows.index(row))

    def disband(self) -> None:
        """Stop speaking all rows."""
        self.rows.clear()
        self._gpt = GptBatch(self.placed.gpt)

    def _attempt(self, work: Callable[[], None]) -> None:
        try:
            self.placed.wake()
            with torch.inference_mode():
                work()
        except torch.OutOfMemoryError as error:
            raise EngineFailure(f"XTTS ran out of memory with {len(self.rows)} texts at once") from error
        except RuntimeError as error:
            self._fall_back(error)

    def _fall_back(self, error: RuntimeError) -> None:
        """Go on in the next mode with what is on the host: the context of a GPU is lost once a kernel has failed."""
        following = fallback(self.placed.mode, str(error))
        if following is None:
            raise EngineFailure(f"XTTS failed in mode {self.placed.mode.name}: {error}") from error
        logger.warning("XTTS falls back: %s", following.reason)
        self.placed = self._place(following)
        self._gpt = GptBatch(self.placed.gpt)
        self._on_fallback(self.placed)
        self._attempt(self._resume)

    def _resume(self) -> None:
        """Prefill with what was said; audio that failed is still due."""
        if self.rows:
            self._take(self.rows, self._gpt.add([row.prompt for row in self.rows]))

    def _take(self, rows: Sequence[Row], heard: Heard) -> None:
        if not torch.isfinite(heard.logits).all():
            raise RuntimeError("the GPT's output is not finite")
        for row, latent, logits in zip(rows, heard.latents, heard.logits, strict=True):
            row.hear(latent, logits)
        for index in reversed(range(len(self.rows))):
            if self.rows[index].finished:
                self._remove(index)

    def _decode(self, rows: Sequence[Row]) -> None:
        windows = [(row, window) for row in rows if (window := row.window())]
        made = self.placed.vocoder.decode([window for _, window in windows])
        for (row, _), samples in zip(windows, made, strict=True):
            row.take(samples)

    def _remove(self, index: int) -> None:
        """Remove a row as the GPT does: the last one takes its place."""
        if len(self._gpt):
            self._gpt.remove(index)
        self.rows[index] = self.rows[-1]
        self.rows.pop()
