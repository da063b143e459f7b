"""The use case: a request waits, gets its engine, is spoken, and is summed up."""

import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from concurrent.futures import Executor
from functools import partial

from servekit import tracing
from servekit.clock import Clock
from servekit.residency import Residency
from services.voice.audio.chain import Chain
from services.voice.catalog import Catalog, ModelRow
from services.voice.clones import Clones
from services.voice.domain import (
    Adjustment,
    Event,
    Header,
    Latents,
    Loading,
    Order,
    Queued,
    Remedy,
    Summary,
    TextPart,
    Voice,
)
from services.voice.loan import Loan
from services.voice.metrics import VoiceMetrics
from services.voice.outbox import Outbox, stream
from services.voice.performance import SEEDS, Performance
from services.voice.ports import Capabilities, EncoderFactory, Engine, Inspect
from services.voice.rungs import Rung, Speaker
from services.voice.stopwatch import Stopwatch
from services.voice.text.languages import Languages
from services.voice.text.normalise import Normaliser
from services.voice.text.sentences import Splitter
from services.voice.turns import Calls, Turns
from services.voice.voices import VoiceBook


class Synthesize:
    """Speaks orders. One instance serves all requests."""

    def __init__(
        self,
        catalog: Catalog,
        capabilities: Mapping[str, Capabilities],
        book: VoiceBook,
        clones: Clones,
        calls: Calls,
        residency: Residency[Engine],
        *,
        inspect: Inspect,
        encoders: EncoderFactory,
        languages: Languages,
        metrics: VoiceMetrics,
        codecs: Executor,
        clock: Clock,
        buffer_bytes: int,
        chunk_bytes: int,
    ) -> None:
        self._catalog = catalog
        self._capabilities = capabilities
        self._book = book
        self._clones = clones
        self._calls = calls
        self._residency = residency
        self._inspect = inspect
        self._encoders = encoders
        self._languages = languages
        self._metrics = metrics
        self._codecs = codecs
        self._clock = clock
        self._buffer_bytes = buffer_bytes
        self._chunk_bytes = chunk_bytes

    def __call__(
        self, order: Order, parts: AsyncIterator[TextPart], characters: int = 0
    ) -> AsyncGenerator[Event, None]:
        """Yield what happens while the parts are spoken, the summary last. Closing the generator stops the work.

        `characters` is the length of the text if it is known, for estimates of the queue. No deadline is judged in
        advance: how long speech takes is up to its reader. Raises what admission and residency raise,
        `OutputRejected`, `EngineFailure` and `VoiceUnusable`.
        """
        outbox = Outbox(limit_bytes=self._buffer_bytes, chunk_bytes=self._chunk_bytes)
        return stream(partial(self._work, order, parts, characters), outbox)

    async def _work(self, order: Order, parts: AsyncIterator[TextPart], characters: int, outbox: Outbox) -> None:
        with self._calls.opened():
            watch = Stopwatch(self._clock)
            with watch.paused():
                latents = await self._clones.latents(order.voice)
            loan = Loan(self._residency, lambda model, fraction: outbox.post(Loading(model, fraction)))
            turns = Turns(
                self._calls,
                loan,
                order.model,
                characters=characters,
                watch=watch,
                on_queued=lambda position, eta_s: outbox.post(Queued(position, eta_s)),
                on_taken=partial(self._taken, order.model),
            )
            await self._perform(order, parts, self._rungs(order, latents, loan), turns, outbox, watch)

    def _taken(self, model: str, queued_s: float, load_s: float) -> None:
        """Note what a turn was waited for."""
        self._metrics.queue_wait_seconds.labels(model).observe(queued_s, tracing.exemplar())
        self._took(model, "queue", queued_s)
        self._took(model, "load", load_s)

    def _rungs(self, order: Order, latents: Latents | None, loan: Loan) -> list[Rung]:
        """Return the attempts a sentence has: as asked, with the next seed, with the fallback engine."""
        own = self._speaker(order.voice, loan, latents)
        rungs: list[Rung] = [(None, own), (Remedy.NEXT_SEED, own)]
        row = self._catalog.get(order.model)
        if row.fallback and (voice := self._stand_in(order, row)):
            rungs.append((Remedy.FALLBACK_ENGINE, self._speaker(voice, loan)))
        return rungs

    def _speaker(self, voice: Voice, loan: Loan, latents: Latents | None = None) -> Speaker:
        return Speaker(partial(loan.engine, voice.model), self._capabilities[voice.model], voice, latents)

    def _stand_in(self, order: Order, row: ModelRow) -> Voice | None:
        """Return who speaks the language in the fallback engine, if it can do what the order needs."""
        can = self._capabilities[row.fallback]
        return None if order.ssml and not can.ssml else self._book.default(row.fallback, order.language)

    async def _perform(
        self,
        order: Order,
        parts: AsyncIterator[TextPart],
        rungs: list[Rung],
        turns: Turns,
        outbox: Outbox,
        watch: Stopwatch,
    ) -> None:
        audio, can = order.audio, self._capabilities[order.model]
        rate = self._encoders.rate_for(audio.format, audio.sample_rate or can.sample_rate)
        encoder = self._encoders.create(audio.format, rate)
        chain = Chain(encoder, rate, volume=audio.volume, normalize=audio.normalize_loudness)
        header = Header(audio.format, rate, order.voice.id, order.model, order.language)
        performance = self._performance(order, rungs, turns, header, chain, outbox, watch)
        adjustments = tuple(_adjustments(order, can, rate))
        try:
            await performance.run(parts)
        finally:  # what was spoken counts, also when the caller hangs up in its midst
            summary = _summary(order, performance, chain.seconds, watch, turns, adjustments)
            if turns.begun_s is not None:
                self._took(order.model, "speak", summary.work_s, lasted_s=watch.total_s - turns.begun_s)
                self._observe(summary, performance)
        outbox.post(summary)

    def _performance(
        self,
        order: Order,
        rungs: list[Rung],
        turns: Turns,
        header: Header,
        chain: Chain,
        outbox: Outbox,
        watch: Stopwatch,
    ) -> Performance:
        language = self._languages.of(order.language)
        return Performance(
            order,
            rungs,
            turns=turns,
            header=header,
            splitter=Splitter(language, limit=self._catalog.get(order.model).limit(order.language)),
            normaliser=Normaliser(language),
            inspect=self._inspect,
            chain=chain,
            outbox=outbox,
            codecs=self._codecs,
            watch=watch,
            metrics=self._metrics,
            seed=order.seed if order.seed is not None else secrets.randbelow(SEEDS),
        )

    def _took(self, model: str, stage: str, seconds: float, *, lasted_s: float | None = None) -> None:
        """Note a stage that ends now; `lasted_s` is how long ago it began, if it also waited for others."""
        now = self._clock.monotonic()
        self._metrics.stage_seconds.labels(model, stage).observe(seconds, tracing.exemplar())
        tracing.record(stage, now - (seconds if lasted_s is None else lasted_s), now, model=model)

    def _observe(self, summary: Summary, performance: Performance) -> None:
        metrics, model = self._metrics, summary.model
        metrics.characters.labels(model).inc(summary.characters)
        metrics.sentences.labels(model).inc(summary.sentences)
        metrics.audio_seconds.labels(model).inc(summary.audio_s)
        metrics.underruns.labels(model).inc(performance.underruns)
        if summary.audio_s:
            metrics.first_audio_seconds.labels(model).observe(performance.delay_s, tracing.exemplar())
            metrics.real_time_factor.labels(model).observe(summary.work_s / summary.audio_s)


def _summary(
    order: Order,
    performance: Performance,
    audio_s: float,
    watch: Stopwatch,
    turns: Turns,
    adjustments: tuple[Adjustment, ...],
) -> Summary:
    work_s = watch.work_s
    return Summary(
        model=order.model,
        voice=order.voice.id,
        audio_s=audio_s,
        first_audio_s=performance.first_audio_s,
        total_s=watch.total_s,
        work_s=work_s,
        characters=performance.characters,
        sentences=performance.sentences,
        attempts=performance.attempts,
        audio_bytes=performance.audio_bytes,
        stages=(("queue", turns.queued_s), ("load", turns.load_s), ("speak", work_s)),
        adjustments=adjustments + performance.adjustments,
    )


def _adjustments(order: Order, can: Capabilities, rate: int) -> list[Adjustment]:
    """Return what is done otherwise than asked."""
    audio, found = order.audio, list[Adjustment]()
    if audio.sample_rate not in (None, rate):
        reason = f"{audio.format.name} does not know {audio.sample_rate} Hz"
        found.append(Adjustment("config.audio.sample_rate", str(audio.sample_rate), str(rate), reason))
    for name, value, able in (("rate", audio.rate, can.rate), ("pitch", audio.pitch, can.pitch)):
        if value != 1.0 and not able:
            found.append(Adjustment(f"config.audio.{name}", f"{value:g}", "1", f"{order.model} cannot change it"))
    if order.word_times and not can.word_times:
        found.append(Adjustment("config.word_times", "true", "false", f"{order.model} does not know word times"))
    return found
