"""Load that checks its answers: pictures, sentences and decisions, each asked for by a few clients in turn."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

from atelier_client import AsyncClient, AtelierError

Ask: TypeAlias = Callable[[AsyncClient], Awaitable[str]]
"""Makes a request and returns its answer in short; the same request has the same answer, always."""

_TIMEOUT_S = 60.0
_PATIENCE_S = 300.0
_AFTER_ERROR_S = 0.2
_CATCH_UP_S = 5.0
_PROMPT = "a red circle on a white background"
_TEXT = "Good evening, this is a test of the studio."


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request."""

    kind: str
    began: float
    """`time.monotonic`."""
    seconds: float
    error: str = ""
    """Code and text of an error; empty for an answer."""
    wrong: bool = False
    """True for an answer that is not the one that was given before the load began."""


async def _picture(client: AsyncClient) -> str:
    made = await client.image(_PROMPT, model="sketch", seed=7, exclusive_batch=True)
    return hashlib.sha256(made.pictures[0].data).hexdigest()


async def _sentence(client: AsyncClient) -> str:
    spoken = await client.say(_TEXT, voice="espeak/en-us")
    return f"{spoken.summary.audio_seconds:.1f} s of {spoken.header.media_type}, {len(spoken.data) // 10_000}0 kB"


async def _decision(client: AsyncClient) -> str:
    decision = await client.route(_PROMPT, model="sketch")
    return decision.routed.model


KINDS: dict[str, tuple[Ask, int]] = {"picture": (_picture, 2), "sentence": (_sentence, 2), "decision": (_decision, 1)}
"""How to ask, and how many clients do."""


def next_due(due: float, period_s: float, now: float) -> float:
    """Return when a client asks next that should have asked at `due`.

    A client whose answer came late asks the next question at once, so that the rate holds; what an outage cost it does
    not make up for. Nor does it wait for longer than a period, though it asked more often while there were errors.
    """
    return min(max(due + period_s, now - _CATCH_UP_S), now + period_s)


class Load:
    """Clients at `address` that ask again and again. `outcomes` grows as they do."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._right: dict[str, str] = {}
        self._answered = asyncio.Condition()
        self.rates: dict[str, float] = {}
        """Requests per second by kind that are meant to be made now; empty for as many as answers come."""
        self.outcomes: list[Outcome] = []

    async def learn(self) -> None:
        """Ask each question once, alone: these are the right answers."""
        async with AsyncClient(self._address, timeout=_TIMEOUT_S) as client:
            self._right = {kind: await ask(client) for kind, (ask, _) in KINDS.items()}

    @asynccontextmanager
    async def running(self, rates: dict[str, float] | None = None) -> AsyncIterator[None]:
        """Ask inside the block, at these requests per second by kind; as fast as answers come without them."""
        self.rates = rates or {}
        periods = {kind: count / self.rates[kind] if rates else 0.0 for kind, (_, count) in KINDS.items()}
        clients = [
            asyncio.create_task(self._client(kind, periods[kind]))
            for kind, (_, count) in KINDS.items()
            for _ in range(count)
        ]
        try:
            yield
        finally:
            for each in clients:
                each.cancel()
            await asyncio.gather(*clients, return_exceptions=True)

    async def capacity(self, seconds: float) -> dict[str, float]:
        """Ask as fast as answers come, and return the answers per second by kind."""
        began = time.monotonic()
        async with self.running():
            await asyncio.sleep(seconds)
        done = self.since(began)
        return {kind: max(1, sum(each.kind == kind for each in done)) / seconds for kind in KINDS}

    def since(self, began: float) -> list[Outcome]:
        """Return the outcomes of the requests that began at `began` (`time.monotonic`) or later."""
        return [each for each in self.outcomes if each.began >= began]

    async def answered(self, kinds: Sequence[str], began: float) -> None:
        """Wait until each of `kinds` has an answer to a request that began at `began` or later.

        Raises `TimeoutError` if that takes five minutes.
        """

        def all_answered() -> bool:
            return {each.kind for each in self.since(began) if not each.error} >= set(kinds)

        async with asyncio.timeout(_PATIENCE_S), self._answered:
            await self._answered.wait_for(all_answered)

    async def _client(self, kind: str, period_s: float) -> None:
        async with AsyncClient(self._address, timeout=_TIMEOUT_S) as client:
            due = time.monotonic()
            while True:
                outcome = await self._ask(kind, client)
                self.outcomes.append(outcome)
                async with self._answered:
                    self._answered.notify_all()
                now = time.monotonic()
                due = next_due(due, period_s, now)
                await asyncio.sleep(_AFTER_ERROR_S if outcome.error else max(0.0, due - now))

    async def _ask(self, kind: str, client: AsyncClient) -> Outcome:
        ask, _ = KINDS[kind]
        began = time.monotonic()
        try:
            answer = await ask(client)
        except AtelierError as error:
            return Outcome(kind, began, time.monotonic() - began, f"{error.code} {error.reason}: {error.message}")
        return Outcome(kind, began, time.monotonic() - began, wrong=answer != self._right[kind])
