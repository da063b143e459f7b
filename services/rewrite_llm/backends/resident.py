"""A language model that lives on the device thread and may come and go."""

import asyncio
import logging
import time
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import TypeVar

from servekit.clock import Clock
from servekit.errors import ModelLoading
from servekit.residency import ModelState, Residency
from servekit.worker import CancelToken, DeviceWorker
from services.rewrite_llm.batching import Batcher
from services.rewrite_llm.domain import Candidate
from services.rewrite_llm.metrics import RewriteMetrics
from services.rewrite_llm.ports import Engine

T = TypeVar("T")
Candidates = tuple[Candidate, ...]

logger = logging.getLogger(__name__)

_WRITING = -1
"""Priority of rewording: many steps, between which choosing and screening go first."""


class ResidentModel:
    """A `LanguageModel` over residency and the device thread.

    Nobody waits for a load: while the model is away every question fails with `ModelLoading`, and the first one has it
    brought back, unless a load failed less than `reload_after_s` ago.
    """

    def __init__(
        self,
        model_id: str,
        residency: Residency[Engine],
        worker: DeviceWorker,
        metrics: RewriteMetrics,
        clock: Clock,
        *,
        max_batch: int,
        reload_after_s: float,
    ) -> None:
        self._id = model_id
        self._residency = residency
        self._worker = worker
        self._metrics = metrics
        self._clock = clock
        self._reload_after_s = reload_after_s
        self._failed_at: float | None = None
        self._load: asyncio.Task[None] | None = None
        self._writing: set[asyncio.Task[str]] = set()
        self._choices: Batcher[Candidates, str, tuple[float, ...]] = Batcher(self._choose, max_batch)
        self._verdicts: Batcher[None, str, float] = Batcher(self._unsafe, max_batch)

    @property
    def id(self) -> str:
        """Id of the model."""
        return self._id

    @property
    def caveat(self) -> str:
        """Empty: its scores are real ones."""
        return ""

    async def load(self) -> None:
        """Bring the model to the device; a failure is logged, and rules answer until a later load succeeds."""
        try:
            await self._residency.load(self._id)
        except Exception as error:  # whatever a library raises: the service lives on without it
            self._failed_at = self._clock.monotonic()
            logger.warning("model %s is not available, rules answer instead: %s", self._id, error)

    async def close(self) -> None:
        """Stop a load that this began."""
        if self._load is not None:
            self._load.cancel()
            await asyncio.wait([self._load])

    async def choose(self, candidates: Sequence[Candidate], text: str) -> tuple[float, ...]:
        """Return the log-odds of each candidate, in the order of the candidates."""
        self._check_there()
        return await self._choices.ask(tuple(candidates), text)

    async def unsafe(self, text: str) -> float:
        """Return the probability that the text is unsafe, 0 to 1."""
        self._check_there()
        return await self._verdicts.ask(None, text)

    async def reword(self, text: str, categories: Sequence[str], max_chars: int) -> str:
        """Return a safe wording of at most `max_chars` characters.

        Whoever gives up leaves at once: the device may be busy with a long step, and ends the writing after it.
        """
        self._check_there()
        writing = asyncio.create_task(self._write(text, categories, max_chars))
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)
        try:
            await asyncio.wait([writing])
        finally:
            writing.cancel()
        return writing.result()

    async def _write(self, text: str, categories: Sequence[str], max_chars: int) -> str:
        async with self._residency.acquire(self._id) as lease:
            engine = lease.value

            def steps(_: CancelToken) -> Generator[None, None, str]:
                return engine.reword(text, categories, max_chars)

            began = time.perf_counter()
            written = await self._worker.submit(steps, priority=_WRITING)
            self._metrics.llm_seconds.labels("reword").observe(time.perf_counter() - began)
            return written

    async def _choose(self, candidates: Candidates, texts: Sequence[str]) -> list[tuple[float, ...]]:
        return await self._run("choose", texts, lambda engine, _: engine.choose(candidates, texts))

    async def _unsafe(self, _: None, texts: Sequence[str]) -> list[float]:
        return await self._run("screen", texts, lambda engine, token: engine.unsafe(texts, token.check))

    async def _run(self, task: str, texts: Sequence[str], work: Callable[[Engine, CancelToken], T]) -> T:
        async with self._residency.acquire(self._id) as lease:
            began = time.perf_counter()
            result = await self._worker.run(partial(work, lease.value))
        self._metrics.llm_seconds.labels(task).observe(time.perf_counter() - began)
        self._metrics.llm_batch_size.labels(task).observe(len(texts))
        return result

    def _check_there(self) -> None:
        state = self._residency.model_status(self._id).state
        if state is ModelState.READY:
            return
        wait_s = self._begin_load()
        raise ModelLoading(f"model {self._id} is {state.value}", retry_after_s=wait_s)

    def _begin_load(self) -> float:
        """Have the model loaded, if it is time to; return the seconds until another try makes sense."""
        since_s = self._reload_after_s if self._failed_at is None else self._clock.monotonic() - self._failed_at
        if since_s < self._reload_after_s:
            return self._reload_after_s - since_s
        if self._load is None or self._load.done():
            self._load = asyncio.create_task(self.load())
        return self._residency.load_seconds(self._id)
