"""One request's way from text to bytes, sentence by sentence, with a second and a third try where output is bad."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import replace
from functools import partial

from servekit.errors import EngineFailure, OutputRejected, ServingError
from services.voice.audio.chain import Chain
from services.voice.domain import (
    Adjustment,
    Audio,
    Cause,
    Degenerate,
    Header,
    Order,
    Remedy,
    Retried,
    Samples,
    TextPart,
    Utterance,
    Word,
    WordSpoken,
)
from services.voice.metrics import VoiceMetrics
from services.voice.outbox import Outbox
from services.voice.ports import Engine, Inspect
from services.voice.prelude import Prelude
from services.voice.rungs import PATIENCE_S, Rung, Speaker, Spoken, is_overcome, may_go_on
from services.voice.script import Passage, Script
from services.voice.stopwatch import Playback, Stopwatch
from services.voice.text.normalise import Normaliser
from services.voice.text.sentences import Splitter
from services.voice.text.speakable import is_speakable
from services.voice.threads import in_thread
from services.voice.turns import Turns

logger = logging.getLogger(__name__)

SEEDS = 2**32

AHEAD = 0.5
"""Share of the outbox's limit from which no passage is begun before its turn: its reader has enough to hear."""


_NO_WORD = ".,;:!?…"
"""What follows an emoji when espeak announces the second half of its name as a word of its own."""


class _Halted(Exception):
    """A passage waits half-way for its reader, and is gone on with in another turn."""


class Performance:
    """Speaks one text. `rungs` are the attempts each sentence has, best first; `header` is said in the first turn."""

    def __init__(
        self,
        order: Order,
        rungs: Sequence[Rung],
        *,
        turns: Turns,
        header: Header,
        splitter: Splitter,
        normaliser: Normaliser,
        inspect: Inspect,
        chain: Chain,
        outbox: Outbox,
        codecs: Executor,
        watch: Stopwatch,
        metrics: VoiceMetrics,
        seed: int,
    ) -> None:
        self._order = order
        self._rungs = rungs
        self._turns = turns
        self._header: Header | None = header
        self._splitter = splitter
        self._normaliser = normaliser
        self._inspect = inspect
        self._chain = chain
        self._outbox = outbox
        self._codecs = codecs
        self._watch = watch
        self._metrics = metrics
        self._seed = seed
        self._preludes: dict[int, Prelude] = {}
        """Passages that were begun before their turn, by where they stand in the text."""
        self._playback = Playback()
        self._halted: Spoken | None = None
        self._spoken_s = 0.0
        self.characters = 0
        self.sentences = 0
        self.adjustments: tuple[Adjustment, ...] = ()
        self._within_sentence = False
        """True if something was spoken of a sentence that has not ended."""
        self.attempts = 1
        self.audio_bytes = 0
        self.first_audio_s = 0.0
        self.delay_s = 0.0
        """`first_audio_s` less the seconds in which the caller's text was waited for."""

    @property
    def underruns(self) -> int:
        """How often audio was made later than it was to be played."""
        return self._playback.underruns

    async def run(self, parts: AsyncIterator[TextPart]) -> None:
        """Speak all parts. Raises `OutputRejected` or `EngineFailure` when a sentence fails for good.

        The first turn is taken at once, so that the engine is there when the text is. While text or room for audio is
        waited for, there is none.
        """
        script = Script(
            parts,
            splitter=self._splitter,
            normaliser=self._normaliser,
            ssml=self._order.ssml,
            watch=self._watch,
        )
        try:
            while not await self._turn(script) and (self._halted or await script.more()):
                with self._watch.paused():
                    await self._outbox.room()
        finally:
            await script.close()
        self._end_sentence()
        await self._send(self._chain.finish)

    async def _turn(self, script: Script) -> bool:
        """Speak for one turn, and return True at the end of the text."""
        async with self._turns.take(self.characters) as turn:
            if self._header is not None:
                self._outbox.post(self._header)
                self._header = None
            try:
                turn.finished = await self._speak_on(script)
            finally:
                await self._drop_preludes()
        return turn.finished

    async def _speak_on(self, script: Script) -> bool:
        """Speak while there is text and room, and nobody else is to be heard; return True at the end of the text."""
        while (self._halted or await script.at_hand()) and self._outbox.fill < 1:
            state, self._halted = self._halted or await self._next(script), None
            if state is None:
                return True
            try:
                await self._perform(state, script)
            except _Halted:
                self._halted = state
            if self._turns.contended:
                break
        return False

    async def _next(self, script: Script) -> Spoken | None:
        if (passage := await script.next()) is None:
            return None
        self.characters += passage.characters
        self.adjustments += passage.adjustments
        return Spoken(passage, self._spoken_s)

    async def _perform(self, state: Spoken, script: Script) -> None:
        """Speak what is left of a passage, if there is anything to speak."""
        sentence = state.passage.sentence
        if is_speakable(sentence.text):
            await self._speak(state, script)
            self._within_sentence = True
        if sentence.complete:
            self._end_sentence()

    def _end_sentence(self) -> None:
        """Count the sentence, in as many passages as it came, if anything of it was spoken."""
        self.sentences += self._within_sentence
        self._within_sentence = False

    async def _speak(self, state: Spoken, script: Script) -> None:
        """Try until it is spoken or nothing is left to try. Raises `_Halted`."""
        causes: list[Cause] = []
        state.patience_s = PATIENCE_S
        for remedy, speaker in self._rungs:
            if not may_go_on(state, speaker, causes):
                continue
            if remedy is not None and causes:
                await self._retry(causes[-1], remedy, len(causes))
            try:
                await self._attempt(state, speaker, self._utterance(state.passage, speaker, len(causes)), script)
            except Degenerate as degenerate:
                causes.append(degenerate.cause)
            except ServingError as failure:
                if not is_overcome(failure, remedy):
                    raise
                logger.warning("%s failed: %s", speaker.voice.model, failure)
                causes.append(Cause.ENGINE_FAILURE)
            else:
                return
        self._give_up(causes)

    def _utterance(self, passage: Passage, speaker: Speaker, failures: int) -> Utterance:
        audio = self._order.audio
        return Utterance(
            text=passage.normalised.text,
            voice=speaker.voice,
            language=self._order.language,
            seed=(self._seed + failures) % SEEDS,
            rate=audio.rate,
            pitch=audio.pitch,
            ssml=self._order.ssml,
            ends_sentence=passage.sentence.complete,
            latents=speaker.latents,
        )

    async def _attempt(self, state: Spoken, speaker: Speaker, utterance: Utterance, script: Script) -> None:
        """Speak one passage once, leaving out what an earlier attempt has spoken already."""
        with self._watch.paused():
            engine = await speaker.engine()
        inspector = self._inspect(utterance, speaker.capabilities)
        skip = state.samples_out
        begun = self._preludes.pop(state.passage.sentence.offset, None)
        async with aclosing(begun or engine.speak(utterance)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Word):
                    await self._announce(state, piece)
                    continue
                heard = inspector.accept(piece)
                fresh = heard[skip:]
                if 0 < skip < len(heard):
                    fresh = self._chain.smooth(fresh, speaker.capabilities.sample_rate)
                skip = max(0, skip - len(heard))
                await self._hear(state, fresh, speaker)
                if speaker.capabilities.repeatable:
                    await self._bear(state)
                if state.heard is self._rungs[0][1]:
                    self._begin_preludes(engine, state.heard, script)
        await self._hear(state, inspector.finish()[skip:], speaker)
        await self._send(self._chain.end_sentence)

    async def _bear(self, state: Spoken) -> None:
        """Wait for the reader of a passage beyond all measure, but not for long: it can be taken up again later."""
        began_s = self._watch.total_s
        try:
            async with asyncio.timeout(state.patience_s):
                with self._watch.paused():
                    await self._outbox.bearable()
        except TimeoutError:
            raise _Halted from None
        state.patience_s -= self._watch.total_s - began_s

    def _begin_preludes(self, engine: Engine, speaker: Speaker, script: Script) -> None:
        """Begin the next passages where the engine has places to spare: only once something is heard of this one.

        What is begun is lost at the end of a turn, so none is where that is near.
        """
        if self._outbox.fill >= AHEAD or self._turns.contended:
            return
        for passage in script.peek(speaker.capabilities.batch - 1):
            place = passage.sentence.offset
            if place not in self._preludes and is_speakable(passage.sentence.text):
                utterance = replace(self._utterance(passage, speaker, 0), ahead=True)
                self._preludes[place] = Prelude(engine.speak(utterance))

    async def _drop_preludes(self) -> None:
        while self._preludes:
            await self._preludes.popitem()[1].aclose()

    async def _hear(self, state: Spoken, samples: Samples, speaker: Speaker) -> None:
        if not len(samples):
            return
        rate, state.heard = speaker.capabilities.sample_rate, speaker
        self._playback.made(self._watch.work_s, len(samples) / rate)
        state.samples_out += len(samples)
        self._spoken_s += len(samples) / rate
        await self._send(partial(self._chain.add, samples, rate))

    async def _announce(self, state: Spoken, word: Word) -> None:
        start, end = state.passage.normalised.span(word.offset, word.offset + word.length)
        written = state.passage.sentence.text[start:end]
        if not self._order.word_times or start < state.words_to or not written.strip().strip(_NO_WORD):
            return
        state.words_to = end
        await self._put(WordSpoken(state.passage.sentence.offset + start, end - start, state.begins_s + word.start_s))

    async def _send(self, step: Callable[[], bytes]) -> None:
        """Put out what a step of the chain returns."""
        data = await in_thread(self._codecs, step) if self._chain.slow else step()
        if not data:
            return
        if not self.audio_bytes:
            self.first_audio_s = self._watch.total_s
            self.delay_s = self.first_audio_s - self._watch.text_s
        await self._put(Audio(data, self.audio_bytes))
        self.audio_bytes += len(data)

    async def _put(self, event: Audio | WordSpoken | Retried) -> None:
        with self._watch.paused():
            await self._outbox.put(event)

    async def _retry(self, cause: Cause, remedy: Remedy, attempt: int) -> None:
        self.attempts += 1
        await self._drop_preludes()  # the next attempt may be another engine's, and this one is given back
        self._metrics.retries.labels(self._order.model, cause.value, remedy.value).inc()
        await self._put(Retried(cause, remedy, attempt))

    def _give_up(self, causes: Sequence[Cause]) -> None:
        self._metrics.rejections.labels(self._order.model, causes[-1].value).inc()
        if set(causes) == {Cause.ENGINE_FAILURE}:
            raise EngineFailure(f"{self._order.model} failed {len(causes)} times at the same sentence")
        raise OutputRejected([cause.value for cause in causes])
