"""What is to be spoken, piece by piece, while the text still arrives."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from servekit.worker import outlast
from services.voice.domain import Adjustment, TextPart
from services.voice.stopwatch import Stopwatch
from services.voice.text import ssml
from services.voice.text.normalise import Normalised, Normaliser
from services.voice.text.sentences import Sentence, Splitter, halves


@dataclass(frozen=True, slots=True)
class Passage:
    """A sentence, or as much of one as the engine takes, with its speakable form."""

    sentence: Sentence
    normalised: Normalised
    characters: int
    """Characters that are spoken, without markup."""
    adjustments: tuple[Adjustment, ...] = ()
    """What is spoken otherwise than it was written."""


class Script:
    """The passages of a text. One part of it is read ahead, and cut only as far as passages are asked for.

    To be created on the event loop; `watch` is told while the text is waited for.
    """

    def __init__(
        self,
        parts: AsyncIterator[TextPart],
        *,
        splitter: Splitter,
        normaliser: Normaliser,
        ssml: bool,
        watch: Stopwatch,
    ) -> None:
        self._parts = parts
        self._splitter = splitter
        self._normaliser = normaliser
        self._ssml = ssml
        self._watch = watch
        self._at_hand = deque[Passage]()
        self._rest: Iterator[Passage] = iter(())
        self._ended = False
        self._coming = asyncio.create_task(self._read())

    async def next(self) -> Passage | None:
        """Return the next passage, None after the last. Raises what the text raises."""
        return self._at_hand.popleft() if await self.more() else None

    async def more(self) -> bool:
        """Wait for the next passage; return False if there is none. Raises what the text raises."""
        while not self._next_at_hand():
            if self._ended:
                return False
            with self._watch.awaiting_text():
                await asyncio.wait([self._coming])
            self._open(self._coming.result())
        return True

    async def at_hand(self) -> bool:
        """Tell whether the next passage, or the end, is there. What has arrived but was not read yet is read."""
        if not self._next_at_hand() and not self._ended:
            await asyncio.sleep(0)
        return self._next_at_hand() or self._ended

    def peek(self, count: int) -> Sequence[Passage]:
        """Return as many of the next passages, at most `count`, as can be had without waiting."""
        while len(self._at_hand) < count and self._draw():
            pass
        return tuple(islice(self._at_hand, count))

    async def close(self) -> None:
        """Read no more of the text."""
        self._coming.cancel()
        await outlast(self._coming)

    async def _read(self) -> TextPart | None:
        return await anext(self._parts, None)

    def _next_at_hand(self) -> bool:
        return bool(self._at_hand) or self._draw()

    def _draw(self) -> bool:
        """Put one more passage at hand; return False if there is none without waiting."""
        while (passage := next(self._rest, None)) is None:
            if self._ended or not self._coming.done() or self._coming.exception():
                return False
            self._open(self._coming.result())
        self._at_hand.append(passage)
        return True

    def _open(self, part: TextPart | None) -> None:
        """Go on with a part of the text, and read the one after it."""
        self._rest = (passage for sentence in self._sentences(part) for passage in self._fitting(sentence))
        self._ended = part is None
        if not self._ended:
            self._coming = asyncio.create_task(self._read())

    def _sentences(self, part: TextPart | None) -> Iterator[Sentence]:
        if not isinstance(part, str):
            return self._splitter.flush()
        return iter([Sentence(part, 0, True)]) if self._ssml else self._splitter.feed(part)

    def _fitting(self, sentence: Sentence) -> Iterator[Passage]:
        """Yield a sentence with its speakable form, in pieces if that form is longer than the engine takes."""
        if self._ssml:
            document = ssml.document(sentence.text)
            yield Passage(sentence, document.text, document.characters, document.adjustments)
            return
        normalised = self._normaliser(sentence.text)
        if len(normalised.text) <= self._splitter.limit or len(sentence.text) < 2:
            yield Passage(sentence, normalised, len(sentence.text))
            return
        for half in halves(sentence):
            yield from self._fitting(half)
