"""The use case: a request waits, gets its engine, is spoken, and is summed up."""

import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from functools import partial

from servekit.admission import Admission
from servekit.clock import Clock
from servekit.residency import Residency
from services.voice.audio.chain import Chain
from services.voice.catalog import Catalog, ModelRow
from services.voice.domain import Adjustment, Event, Header, Loading, Order, Queued, Remedy, Summary, TextPart, Voice
from services.voice.metrics import VoiceMetrics
from services.voice.outbox import Outbox, stream
from services.voice.performance import SEEDS, Performance, Rung, Speaker
from services.voice.ports import Capabilities, EncoderFactory, Engine, Inspect
from services.voice.stopwatch import Stopwatch
from services.voice.text.languages import Languages
from services.voice.text.normalise import Normaliser
from services.voice.text.sentences import Splitter
from services.voice.voices import VoiceBook


class Synthesize:
    """Speaks orders. One instance serves all requests."""

    def __init__(
        self,
        catalog: Catalog,
        capabilities: Mapping[str, Capabilities],
        book: VoiceBook,
        admission: Admission,
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
        self._admission = admission
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
        self, order: Order, parts: AsyncIterator[TextPart], deadline: float | None = None
    ) -> AsyncGenerator[Event, None]:
        """Yield what happens while the parts are spoken, the summary last. Closing the generator stops the work.

        `deadline` is in seconds of the clock. Raises what admission and residency raise, `OutputRejected` and
        `EngineFailure`.
        """
        outbox = Outbox(limit_bytes=self._buffer_bytes, chunk_bytes=self._chunk_bytes)
        return stream(partial(self._work, order, parts, deadline), outbox)

    async def _work(self, order: Order, parts: AsyncIterator[TextPart], deadline: float | None, outbox: Outbox) -> None:
        waiting, metrics = Stopwatch(self._clock), self._metrics
        async with AsyncExitStack() as stack:
            ticket = await stack.enter_async_context(
                self._admission.admit(
                    order.model,
                    deadline=deadline,
                    on_queued=lambda position, eta_s: outbox.post(Queued(position, eta_s)),
                )
            )
            metrics.queue_wait_seconds.labels(order.model).observe(ticket.queued_s)
            engine = await self._engine(stack, order.model, outbox)
            ticket.begin()
            load_s = waiting.total_s - ticket.queued_s
            await self._perform(order, parts, self._rungs(order, engine, stack, outbox), outbox, waiting, load_s)

    async def _engine(self, stack: AsyncExitStack, model: str, outbox: Outbox) -> Engine:
        """Borrow an engine until `stack` unwinds."""
        lease = await stack.enter_async_context(
            self._residency.acquire(model, on_progress=lambda fraction: outbox.post(Loading(model, fraction)))
        )
        return lease.value

    def _rungs(self, order: Order, engine: Engine, stack: AsyncExitStack, outbox: Outbox) -> list[Rung]:
        """Return the attempts a sentence has: as asked, with the next seed, with the fallback engine."""
        own = Speaker(engine, self._capabilities[order.model], order.voice)

        async def same() -> Speaker:
            return own

        rungs: list[Rung] = [(None, same), (Remedy.NEXT_SEED, same)]
        row = self._catalog.get(order.model)
        if row.fallback and (voice := self._stand_in(order, row)):
            rungs.append((Remedy.FALLBACK_ENGINE, self._fallback(row.fallback, voice, stack, outbox)))
        return rungs

    def _stand_in(self, order: Order, row: ModelRow) -> Voice | None:
        """Return who speaks the language in the fallback engine, if it can do what the order needs."""
        can = self._capabilities[row.fallback]
        return None if order.ssml and not can.ssml else self._book.default(row.fallback, order.language)

    def _fallback(
        self, model: str, voice: Voice, stack: AsyncExitStack, outbox: Outbox
    ) -> Callable[[], Awaitable[Speaker]]:
        """Return what borrows the fallback engine when it is first needed."""
        speaker: Speaker | None = None

        async def find() -> Speaker:
            nonlocal speaker
            if speaker is None:
                engine = await self._engine(stack, model, outbox)
                speaker = Speaker(engine, self._capabilities[model], voice)
            return speaker

        return find

    async def _perform(
        self,
        order: Order,
        parts: AsyncIterator[TextPart],
        rungs: list[Rung],
        outbox: Outbox,
        waited: Stopwatch,
        load_s: float,
    ) -> None:
        audio, can = order.audio, self._capabilities[order.model]
        rate = self._encoders.rate_for(audio.format, audio.sample_rate or can.sample_rate)
        outbox.post(Header(audio.format, rate, order.voice.id, order.model, order.language))
        language = self._languages.of(order.language)
        watch = Stopwatch(self._clock)
        chain = Chain(
            self._encoders.create(audio.format, rate), rate, volume=audio.volume, normalize=audio.normalize_loudness
        )
        performance = Performance(
            order,
            rungs,
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
        before_s = waited.total_s
        await performance.run(parts)
        queued_s = before_s - load_s
        summary = Summary(
            model=order.model,
            voice=order.voice.id,
            audio_s=chain.seconds,
            first_audio_s=before_s + performance.first_audio_s if performance.audio_bytes else 0.0,
            total_s=waited.total_s,
            work_s=watch.work_s,
            characters=performance.characters,
            sentences=performance.sentences,
            attempts=performance.attempts,
            audio_bytes=performance.audio_bytes,
            stages=(("queue", queued_s), ("load", load_s), ("speak", watch.work_s)),
            adjustments=tuple(_adjustments(order, can, rate)),
        )
        self._observe(summary, performance.underruns)
        outbox.post(summary)

    def _observe(self, summary: Summary, underruns: int) -> None:
        metrics, model = self._metrics, summary.model
        metrics.characters.labels(model).inc(summary.characters)
        metrics.sentences.labels(model).inc(summary.sentences)
        metrics.audio_seconds.labels(model).inc(summary.audio_s)
        metrics.underruns.labels(model).inc(underruns)
        if summary.audio_s:
            metrics.first_audio_seconds.labels(model).observe(summary.first_audio_s)
            metrics.real_time_factor.labels(model).observe(summary.work_s / summary.audio_s)


def _adjustments(order: Order, can: Capabilities, rate: int) -> list[Adjustment]:
    """Return what is done otherwise than asked."""
    audio, found = order.audio, list[Adjustment]()
    wanted_rate = audio.sample_rate or can.sample_rate
    if rate != wanted_rate:
        reason = f"{audio.format.name} does not know {wanted_rate} Hz"
        found.append(Adjustment("config.audio.sample_rate", str(wanted_rate), str(rate), reason))
    for name, value, able in (("rate", audio.rate, can.rate), ("pitch", audio.pitch, can.pitch)):
        if value != 1.0 and not able:
            found.append(Adjustment(f"config.audio.{name}", f"{value:g}", "1", f"{order.model} cannot change it"))
    if order.word_times and not can.word_times:
        found.append(Adjustment("config.word_times", "true", "false", f"{order.model} does not know word times"))
    return found
