"""Put questions that wait at the same time into one call."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from servekit.errors import EngineFailure

K = TypeVar("K")
Q = TypeVar("Q")
A = TypeVar("A")


class Batcher(Generic[K, Q, A]):
    """Answers questions through `answer(key, questions)`, one call at a time.

    What arrives during a call waits and shares the next one with others of the same key, at most `max_batch`; keys
    take turns. There is no waiting for company: a question that comes alone is asked alone, at once. A call for which
    nobody waits any more is cancelled.
    """

    def __init__(self, answer: Callable[[K, Sequence[Q]], Awaitable[Sequence[A]]], max_batch: int) -> None:
        self._answer = answer
        self._max_batch = max_batch
        self._waiting: dict[K, deque[tuple[Q, asyncio.Future[A]]]] = {}
        self._task: asyncio.Task[None] | None = None

    async def ask(self, key: K, question: Q) -> A:
        """Return the answer, or raise what the call that held the question raised."""
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append((question, future))
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        try:
            while self._waiting:
                key = next(iter(self._waiting))
                batch = self._take(key)
                if batch:
                    await self._settle(key, batch)
        finally:
            self._task = None

    def _take(self, key: K) -> list[tuple[Q, asyncio.Future[A]]]:
        """Return the next batch without the questions nobody waits for any more, and send the key to the back."""
        queue = self._waiting.pop(key)
        batch: list[tuple[Q, asyncio.Future[A]]] = []
        while queue and len(batch) < self._max_batch:
            question, future = queue.popleft()
            if not future.done():
                batch.append((question, future))
        if queue:
            self._waiting[key] = queue
        return batch

    async def _settle(self, key: K, batch: Sequence[tuple[Q, asyncio.Future[A]]]) -> None:
        futures = [future for _, future in batch]
        call = _call_for(futures, self._answer(key, [question for question, _ in batch]))
        await asyncio.wait([call])
        if call.cancelled():
            return
        try:
            answers = call.result()
            if len(answers) != len(batch):
                raise EngineFailure(f"{len(answers)} answers to {len(batch)} questions")
        except Exception as error:
            for future in futures:
                if not future.done():
                    future.set_exception(error)
            return
        for future, answer in zip(futures, answers, strict=True):
            if not future.done():
                future.set_result(answer)


def _call_for(futures: Sequence[asyncio.Future[A]], answers: Awaitable[Sequence[A]]) -> asyncio.Future[Sequence[A]]:
    """Begin a call, which is cancelled when nobody waits for any of its answers any more."""
    call = asyncio.ensure_future(answers)

    def left(_: asyncio.Future[A]) -> None:
        if all(future.done() for future in futures):
            call.cancel()

    for future in futures:
        future.add_done_callback(left)
    return call
