"""Sentences are spoken in order; bad ones again, then by another engine, then given up."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from servekit.errors import EngineFailure, ModelUnavailable, OutputRejected
from servekit.testing import ManualClock
from services.voice import outbox, performance
from services.voice.audio.chain import Chain
from services.voice.checks.audio import Inspector
from services.voice.domain import (
    Audio,
    AudioConfig,
    AudioFormat,
    Cause,
    Event,
    Flush,
    Header,
    Order,
    Piece,
    Remedy,
    Retried,
    TextPart,
    Utterance,
    Word,
    WordSpoken,
)
from services.voice.encoders.factory import Encoders
from services.voice.metrics import VoiceMetrics
from services.voice.outbox import Outbox, stream
from services.voice.performance import Performance
from services.voice.ports import Capabilities
from services.voice.rungs import Rung, Speaker
from services.voice.stopwatch import Stopwatch
from services.voice.text import languages
from services.voice.text.normalise import Normaliser
from services.voice.text.sentences import Splitter
from tests.unit.services.voice.speaking import CAN, ScriptedEngine, Studio, parts_of, tone, voice

ENGLISH = languages.load().of("en")
ORDER = Order("robot", voice(), "en", AudioConfig(AudioFormat.PCM_F32LE), seed=7, word_times=True)
HEADER = Header(ORDER.audio.format, 22050, "robot/en", "robot", "en")
SILENCE = np.zeros(11025, np.float32)
NAN = np.full(100, np.nan, np.float32)


def rungs(engine: ScriptedEngine, spare: ScriptedEngine | None = None, can: Capabilities = CAN) -> list[Rung]:
    own = speaker(engine, can, "robot")
    others: list[Rung] = [(Remedy.FALLBACK_ENGINE, speaker(spare, can, "spare"))] if spare else []
    return [(None, own), (Remedy.NEXT_SEED, own), *others]


def speaker(engine: ScriptedEngine, can: Capabilities, model: str) -> Speaker:
    async def borrow() -> ScriptedEngine:
        return engine

    return Speaker(borrow, can, voice(model))


class Stage:
    """One performance and what came of it."""

    def __init__(
        self,
        attempts: Sequence[Rung],
        order: Order = ORDER,
        clock: ManualClock | None = None,
        *,
        limit_bytes: int = 10**9,
        studio: Studio | None = None,
    ) -> None:
        self.registry = CollectorRegistry()
        self.outbox = Outbox(limit_bytes=limit_bytes, chunk_bytes=2**30)
        self.studio = studio or Studio()
        watch = Stopwatch(clock or ManualClock())
        self._codecs = ThreadPoolExecutor(1)
        self.performance = Performance(
            order,
            attempts,
            turns=self.studio.turns(watch),
            header=HEADER,
            splitter=Splitter(ENGLISH, limit=100),
            normaliser=Normaliser(ENGLISH),
            inspect=Inspector,
            chain=Chain(Encoders().create(order.audio.format, 22050), 22050),
            outbox=self.outbox,
            codecs=self._codecs,
            watch=watch,
            metrics=VoiceMetrics(self.registry),
            seed=order.seed or 0,
        )

    async def run(self, *parts: TextPart) -> list[Event]:
        try:
            events = stream(lambda _: self.performance.run(parts_of(*parts)), self.outbox)
            return [event async for event in events]
        finally:
            self._codecs.shutdown()


def audio(events: Sequence[Event]) -> "np.typing.NDArray[np.float32]":
    return np.frombuffer(b"".join(each.data for each in events if isinstance(each, Audio)), "<f4")


def retries(events: Sequence[Event]) -> list[Retried]:
    return [each for each in events if isinstance(each, Retried)]


async def test_sentences_are_spoken_in_order() -> None:
    engine = ScriptedEngine([tone(0.1)])
    await Stage(rungs(engine)).run("First one. Second ", "one. Third")
    assert [each.text for each in engine.heard] == ["First one. ", "Second one. ", "Third"]


async def test_what_grows_when_it_is_made_speakable_still_fits_the_engine() -> None:
    engine = ScriptedEngine([tone(0.1)])
    text = "a & b, " * 40
    await Stage(rungs(engine)).run(text)
    assert max(len(each.text) for each in engine.heard) <= 100
    assert "".join(each.text for each in engine.heard) == text.replace("&", "and")
    assert [each.ends_sentence for each in engine.heard] == [False] * (len(engine.heard) - 1) + [True]


async def test_the_audio_of_all_sentences_is_one_stream() -> None:
    events = await Stage(rungs(ScriptedEngine([tone(0.1)], [tone(0.2)]))).run("One. Two.")
    assert np.allclose(audio(events), np.concatenate((tone(0.1), tone(0.2))))


async def test_a_flush_speaks_what_is_there() -> None:
    engine = ScriptedEngine([tone(0.1)])
    await Stage(rungs(engine)).run("Half a sen", Flush(), "tence")
    assert [each.text for each in engine.heard] == ["Half a sen", "tence"]


async def test_what_has_nothing_to_say_is_left_out() -> None:
    engine = ScriptedEngine([tone(0.1)])
    await Stage(rungs(engine)).run("One.\n\n— …\n\nTwo.")
    assert [each.text.strip() for each in engine.heard] == ["One.", "Two."]


async def test_words_count_from_the_beginning_of_text_and_audio() -> None:
    engine = ScriptedEngine([Word(0, 3, 0.0), tone(0.5)], [tone(0.5), Word(4, 3, 0.25)])
    events = await Stage(rungs(engine)).run("One. The dog.")
    words = [each for each in events if isinstance(each, WordSpoken)]
    assert [(each.offset, each.length) for each in words] == [(0, 3), (9, 3)]
    assert [each.start_s for each in words] == pytest.approx([0.0, 0.75])


async def test_a_word_that_stands_for_several_is_announced_once() -> None:
    engine = ScriptedEngine([Word(0, 3, 0.0), Word(4, 7, 0.2), tone(0.5)])
    events = await Stage(rungs(engine)).run("e.g. me")
    assert [each.offset for each in events if isinstance(each, WordSpoken)] == [0]


async def test_what_is_announced_after_a_word_and_is_none_is_left_out() -> None:
    """An engine may announce the second half of an emoji's name where the blank or the full stop after it stands."""
    engine = ScriptedEngine([Word(0, 1, 0.0), Word(1, 1, 0.1), Word(2, 1, 0.2), Word(3, 1, 0.3), tone(0.5)])
    events = await Stage(rungs(engine)).run("🌍 🌍.")
    assert [each.offset for each in events if isinstance(each, WordSpoken)] == [0, 2]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("x" * 300, 1),
        ("x" * 350, 1),
        (f"{'x' * 200}{'.' * 100}", 1),
        (f"{'x' * 350}. And one more.", 2),
        ("One. Two", 2),
        ("One. …", 1),
    ],
)
async def test_a_sentence_in_several_passages_is_one(text: str, sentences: int) -> None:
    stage = Stage(rungs(ScriptedEngine([tone(0.1)])))
    await stage.run(text)
    assert (stage.performance.sentences, stage.performance.characters) == (sentences, len(text))


async def test_a_long_break_is_shortened_and_told() -> None:
    engine = ScriptedEngine([tone(0.1)])
    stage = Stage(rungs(engine), replace(ORDER, ssml=True))
    await stage.run('<speak>One <break time="1000s"/> two</speak>')
    assert [each.text for each in engine.heard] == ['<speak>One <break time="10000ms"/> two</speak>']
    assert [each.used for each in stage.performance.adjustments] == ["10s"]
    assert stage.performance.characters == len("One two")


@pytest.mark.parametrize(
    ("bad", "cause"), [([SILENCE], Cause.SILENT), ([NAN], Cause.NON_FINITE), (["x"], Cause.ENGINE_FAILURE)]
)
async def test_a_bad_sentence_is_made_again_with_the_next_seed(bad: list[object], cause: Cause) -> None:
    engine = ScriptedEngine(bad, [tone(0.2)])  # type: ignore[arg-type]
    events = await Stage(rungs(engine)).run("Hello.")
    assert retries(events) == [Retried(cause, Remedy.NEXT_SEED, 1)]
    assert [each.seed for each in engine.heard] == [7, 8]
    assert np.allclose(audio(events), tone(0.2))


async def test_then_the_fallback_engine_speaks() -> None:
    engine, spare = ScriptedEngine([SILENCE]), ScriptedEngine([tone(0.2)])
    events = await Stage(rungs(engine, spare)).run("Hello.")
    assert [each.remedy for each in retries(events)] == [Remedy.NEXT_SEED, Remedy.FALLBACK_ENGINE]
    assert spare.heard[0].voice == voice("spare")


async def test_without_a_fallback_every_cause_is_told() -> None:
    with pytest.raises(OutputRejected) as caught:
        await Stage(rungs(ScriptedEngine([SILENCE], [NAN]))).run("Hello.")
    assert caught.value.attempts == ("silent", "non_finite")


async def test_an_engine_that_only_breaks_is_a_failure() -> None:
    with pytest.raises(EngineFailure):
        await Stage(rungs(ScriptedEngine(["broken"]))).run("Hello.")


async def test_a_stand_in_that_cannot_be_had_is_one_more_cause() -> None:
    async def missing() -> ScriptedEngine:
        raise ModelUnavailable("not installed")

    first, second = rungs(ScriptedEngine([SILENCE]))
    stage = Stage([first, second, (Remedy.FALLBACK_ENGINE, Speaker(missing, CAN, voice("spare")))])
    with pytest.raises(OutputRejected) as caught:
        await stage.run("One.")
    assert caught.value.attempts == ("silent", "silent", "engine_failure")


async def test_an_engine_that_cannot_be_had_at_all_is_told_as_such() -> None:
    async def missing() -> ScriptedEngine:
        raise ModelUnavailable("not installed")

    with pytest.raises(ModelUnavailable):
        await Stage([(None, Speaker(missing, CAN, voice()))]).run("One.")


async def test_retries_are_counted() -> None:
    stage = Stage(rungs(ScriptedEngine([SILENCE], [tone(0.1)])))
    await stage.run("Hello.")
    labels = {"model": "robot", "cause": "silent", "remedy": "next_seed"}
    assert stage.registry.get_sample_value("voice_retries_total", labels) == 1


async def test_what_was_heard_is_not_said_again_by_an_engine_that_would_say_it_differently() -> None:
    with pytest.raises(EngineFailure):
        await Stage(rungs(ScriptedEngine([tone(0.3), "broken"], [tone(1.0)]))).run("Hello.")


async def test_a_repeatable_engine_takes_up_where_it_broke_off() -> None:
    engine = ScriptedEngine([tone(0.3), "broken"], [tone(1.0)])
    events = await Stage(rungs(engine, can=replace(CAN, repeatable=True))).run("Hello.")
    assert np.allclose(audio(events), tone(1.0), atol=0.03)  # one sample's step, smoothed


async def test_another_engine_never_takes_up_what_was_heard() -> None:
    engine, spare = ScriptedEngine([tone(0.3), "broken"], ["broken"]), ScriptedEngine([tone(1.0)])
    with pytest.raises(EngineFailure):
        await Stage(rungs(engine, spare, replace(CAN, repeatable=True))).run("Hello.")
    assert not spare.heard


async def test_bad_output_stops_the_engine() -> None:
    engine = ScriptedEngine([NAN, tone(9)], [tone(0.1)])
    await Stage(rungs(engine)).run("Hello.")
    assert engine.stopped == 1


async def test_an_engine_gets_the_latents_of_the_voice_and_its_stand_in_does_not() -> None:
    engine, spare = ScriptedEngine(["broken"]), ScriptedEngine([tone(0.1)])
    latents = {"x": np.ones(3, np.float32)}
    first, second, third = rungs(engine, spare)
    own = replace(first[1], latents=latents)
    await Stage([(None, own), (second[0], own), third]).run("One.")
    assert [each.latents for each in (*engine.heard, *spare.heard)] == [latents, latents, None]


async def test_audio_that_is_made_later_than_it_is_played_is_an_underrun() -> None:
    clock = ManualClock()

    class Slow(ScriptedEngine):
        async def speak(self, utterance: Utterance) -> AsyncGenerator[Piece, None]:
            async for piece in super().speak(utterance):
                clock.advance(0.2)
                yield piece

    stage = Stage(rungs(Slow([tone(0.1)] * 4)), clock=clock)
    await stage.run("One.")
    assert stage.performance.underruns == 3


async def test_ssml_reaches_the_engine_as_it_is() -> None:
    engine = ScriptedEngine([tone(0.1)])
    text = "<speak>One. Two &amp; three.</speak>"
    await Stage(rungs(engine), replace(ORDER, ssml=True)).run(text)
    assert [each.text for each in engine.heard] == [text]


async def test_a_slow_encoder_runs_beside_the_loop() -> None:
    order = replace(ORDER, audio=AudioConfig(AudioFormat.FLAC))
    events = await Stage(rungs(ScriptedEngine([tone(0.5)])), order).run("Hello.")
    assert b"".join(each.data for each in events if isinstance(each, Audio)).startswith(b"fLaC")


class BatchingEngine(ScriptedEngine):
    """Notes when utterances begin and end, and takes turns with others as engines do."""

    def __init__(self, *answers: Sequence[Piece | str]) -> None:
        super().__init__(*answers)
        self.log: list[str] = []
        self.early = asyncio.Event()

    async def speak(self, utterance: Utterance) -> AsyncGenerator[Piece, None]:
        name = utterance.text.strip(". ")
        self.log.append(f"{name} begins{' ahead' if utterance.ahead else ''}")
        if utterance.ahead:
            self.early.set()
        try:
            async with aclosing(super().speak(utterance)) as pieces:
                async for piece in pieces:
                    self.log.append(name)
                    yield piece
                    await asyncio.sleep(0)
        finally:
            self.log.append(f"{name} ends")


BATCHING = replace(CAN, batch=3)


async def test_later_sentences_are_begun_once_the_first_is_heard() -> None:
    engine = BatchingEngine([tone(0.1), tone(0.2)])
    await Stage(rungs(engine, can=BATCHING)).run("One. Two. Three. Four.")
    one_heard, two_begins = engine.log.index("One"), engine.log.index("Two begins ahead")
    assert one_heard < two_begins < engine.log.index("One ends")
    assert engine.log.index("Three begins ahead") < engine.log.index("One ends")
    assert engine.log.index("Four begins ahead") > engine.log.index("One ends")
    assert [each.text.strip() for each in engine.heard] == ["One.", "Two.", "Three.", "Four."]


async def test_of_a_sentence_begun_early_no_more_than_a_piece_is_made_before_its_turn() -> None:
    engine = BatchingEngine([tone(0.1)] * 4)
    await Stage(rungs(engine, can=BATCHING)).run("One. Two. Three.")
    before = engine.log[: engine.log.index("One ends")]
    assert (before.count("One"), before.count("Two"), before.count("Three")) == (4, 1, 1)


async def test_audio_is_in_the_order_of_the_text_whatever_was_begun_first() -> None:
    answers = [[tone(0.1), tone(0.2)], [tone(0.3)], [tone(0.1), tone(0.4)], [tone(0.5)]]
    events = await Stage(rungs(BatchingEngine(*answers), can=BATCHING)).run("One. Two. Three. Four.")
    assert np.allclose(audio(events), np.concatenate([piece for answer in answers for piece in answer]))


async def test_what_was_begun_is_stopped_before_another_engine_is_borrowed() -> None:
    spare = ScriptedEngine([tone(0.1)])
    engine = BatchingEngine([tone(0.1), tone(0.1)], [SILENCE], [tone(0.1), tone(0.1)], [SILENCE], [tone(0.1)])
    events = await Stage(rungs(engine, spare, can=BATCHING)).run("One. Two. Three. Four.")
    assert [each.remedy for each in retries(events)] == [Remedy.NEXT_SEED, Remedy.FALLBACK_ENGINE]
    begun, ended = [sum(kind in line for line in engine.log) for kind in ("begins", "ends")]
    assert begun == ended
    assert len(spare.heard) == 1


async def test_a_failure_of_what_was_begun_is_tried_again_in_its_turn() -> None:
    engine = BatchingEngine([tone(0.1), tone(0.1)], ["broken"], [tone(0.3)])
    events = await Stage(rungs(engine, can=BATCHING)).run("One. Two.")
    assert [each.cause for each in retries(events)] == [Cause.ENGINE_FAILURE]
    assert np.allclose(audio(events), np.concatenate((tone(0.1), tone(0.1), tone(0.3))))


async def test_who_hangs_up_ends_all_that_was_begun() -> None:
    engine = BatchingEngine([tone(0.1)] * 10)
    stage = Stage(rungs(engine, can=BATCHING))
    work = asyncio.create_task(stage.performance.run(parts_of("One. Two. Three. Four.")))
    await engine.early.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert sum("begins" in line for line in engine.log) == sum("ends" in line for line in engine.log)


async def until_free(stage: Stage) -> None:
    """Wait until a newcomer could have the only place."""
    async with asyncio.timeout(5), stage.studio.calls.place("robot"):
        pass


async def test_while_text_is_waited_for_others_may_speak() -> None:
    more, engine = asyncio.Event(), ScriptedEngine([tone(0.1)])

    async def slow() -> AsyncIterator[TextPart]:
        yield "One. Tw"
        await more.wait()
        yield "o."

    stage = Stage(rungs(engine))
    work = asyncio.create_task(stage.performance.run(slow()))
    assert await stage.outbox.take() == HEADER
    await until_free(stage)
    more.set()
    await work
    assert [each.text for each in engine.heard] == ["One. ", "Two."]


async def test_the_delay_of_the_first_audio_is_not_that_of_its_text() -> None:
    more, clock = asyncio.Event(), ManualClock()

    class Slow(ScriptedEngine):
        async def speak(self, utterance: Utterance) -> AsyncGenerator[Piece, None]:
            clock.advance(0.25)
            async for piece in super().speak(utterance):
                yield piece

    async def dictated() -> AsyncIterator[TextPart]:
        yield "On"
        await more.wait()
        yield "e. Two."

    stage = Stage(rungs(Slow([tone(0.1)])), clock=clock)
    work = asyncio.create_task(stage.performance.run(dictated()))
    assert await stage.outbox.take() == HEADER
    await until_free(stage)
    clock.advance(3)
    more.set()
    await work
    assert (stage.performance.first_audio_s, stage.performance.delay_s) == (3.25, 0.25)


async def test_the_header_does_not_wait_for_text() -> None:
    async def silent() -> AsyncIterator[TextPart]:
        await asyncio.Event().wait()
        yield ""

    stage = Stage(rungs(ScriptedEngine([tone(0.1)])))
    work = asyncio.create_task(stage.performance.run(silent()))
    assert await stage.outbox.take() == HEADER
    await until_free(stage)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work


async def test_while_a_reader_is_waited_for_others_may_speak() -> None:
    spoken = asyncio.Semaphore(0)

    class Counted(ScriptedEngine):
        async def speak(self, utterance: Utterance) -> AsyncGenerator[Piece, None]:
            async for piece in super().speak(utterance):
                yield piece
            spoken.release()

    engine = Counted([tone(0.1)])
    stage = Stage(rungs(engine), limit_bytes=1)
    work = asyncio.create_task(stage.performance.run(parts_of("One. Two. Three.")))
    assert await stage.outbox.take() == HEADER
    for heard in range(1, 4):
        await spoken.acquire()
        await until_free(stage)
        assert len(engine.heard) == heard
        await stage.outbox.take()
    await work


async def test_a_passage_beyond_all_measure_gives_up_its_place_half_way_and_is_taken_up_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(performance, "PATIENCE_S", 0.0)
    monkeypatch.setattr(outbox, "LONGEST_SENTENCE_BYTES", 10_000)
    engine = ScriptedEngine([tone(0.1)] * 9)
    stage = Stage(rungs(engine, can=replace(CAN, repeatable=True)), limit_bytes=10_000)
    work = asyncio.create_task(stage.performance.run(parts_of("One.")))
    work.add_done_callback(lambda _: stage.outbox.end())
    assert await stage.outbox.take() == HEADER
    await until_free(stage)
    assert engine.stopped == 1
    events = list[Event]()
    while (event := await stage.outbox.take()) is not None:
        events.append(event)
    await work
    assert np.allclose(audio(events), np.concatenate([tone(0.1)] * 9), atol=0.03)
    assert (stage.performance.sentences, stage.performance.attempts, retries(events)) == (1, 1, [])


async def test_who_waits_in_the_midst_of_his_text_is_let_in_after_a_sentence() -> None:
    studio, texts = Studio(), ["One. Two. Three.", "Four. Five. Six."]
    engine = ScriptedEngine([tone(0.1)])
    stages = [Stage(rungs(engine), limit_bytes=1, studio=studio) for _ in texts]
    works = [
        asyncio.create_task(stage.performance.run(parts_of(text))) for stage, text in zip(stages, texts, strict=True)
    ]
    while not all(work.done() for work in works):
        await asyncio.gather(
            *(stage.outbox.take() for stage, work in zip(stages, works, strict=True) if not work.done())
        )
    assert [each.text.strip() for each in engine.heard] == ["One.", "Four.", "Two.", "Five.", "Three.", "Six."]


async def test_nothing_is_begun_ahead_for_a_reader_who_has_enough() -> None:
    engine = BatchingEngine([tone(0.1), tone(0.1)])
    events = await Stage(rungs(engine, can=BATCHING), limit_bytes=10_000).run("One. Two. Three.")
    assert len(audio(events)) == 6 * len(tone(0.1))
    assert not engine.early.is_set()
