import asyncio
from collections.abc import Sequence

import pytest

from servekit.errors import EngineFailure
from services.rewrite_llm.batching import Batcher


class Oracle:
    """Answers in upper case, one call at a time, when told to go on."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str]]] = []
        self.may_answer = asyncio.Semaphore(0)
        self.fails = False

    async def __call__(self, key: str, questions: Sequence[str]) -> list[str]:
        self.calls.append((key, list(questions)))
        await self.may_answer.acquire()
        if self.fails:
            raise RuntimeError("broken")
        return [question.upper() for question in questions]

    def go(self, times: int = 1) -> None:
        for _ in range(times):
            self.may_answer.release()


async def begun(*tasks: "asyncio.Task[str]") -> None:
    """Let the tasks run as far as they can."""
    for _ in range(3):
        await asyncio.sleep(0)
    assert tasks


async def test_a_question_that_comes_alone_is_asked_at_once() -> None:
    oracle = Oracle()
    oracle.go()
    assert await Batcher(oracle, 4).ask("k", "a") == "A"
    assert oracle.calls == [("k", ["a"])]


async def test_what_waits_during_a_call_shares_the_next() -> None:
    oracle = Oracle()
    batcher = Batcher(oracle, 4)
    tasks = [asyncio.create_task(batcher.ask("k", "a"))]
    await begun(*tasks)
    tasks += [asyncio.create_task(batcher.ask("k", text)) for text in "bcd"]
    await begun(*tasks)
    oracle.go(2)
    assert await asyncio.gather(*tasks) == ["A", "B", "C", "D"]
    assert oracle.calls == [("k", ["a"]), ("k", ["b", "c", "d"])]


async def test_a_batch_has_its_limit_and_keys_take_turns() -> None:
    oracle = Oracle()
    batcher = Batcher(oracle, 2)
    asked = [("k", "a"), ("k", "b"), ("k", "c"), ("m", "x")]
    tasks = [asyncio.create_task(batcher.ask(key, text)) for key, text in asked]
    oracle.go(3)
    assert await asyncio.gather(*tasks) == ["A", "B", "C", "X"]
    assert oracle.calls == [("k", ["a", "b"]), ("m", ["x"]), ("k", ["c"])]


async def test_questions_nobody_waits_for_are_not_asked() -> None:
    oracle = Oracle()
    batcher = Batcher(oracle, 4)
    first = asyncio.create_task(batcher.ask("k", "a"))
    await begun(first)
    second, third = (asyncio.create_task(batcher.ask("k", text)) for text in "bc")
    await begun(second, third)
    second.cancel()
    oracle.go(2)
    assert (await first, await third) == ("A", "C")
    assert oracle.calls == [("k", ["a"]), ("k", ["c"])]


async def test_leaving_during_a_call_harms_nobody_else() -> None:
    oracle = Oracle()
    batcher = Batcher(oracle, 4)
    first, second = (asyncio.create_task(batcher.ask("k", text)) for text in "ab")
    await begun(first, second)
    first.cancel()
    oracle.go()
    assert await second == "B"


async def test_a_call_ends_when_the_last_who_waits_for_it_leaves() -> None:
    oracle = Oracle()
    batcher = Batcher(oracle, 4)
    first, second = (asyncio.create_task(batcher.ask("k", text)) for text in "ab")
    await begun(first, second)
    first.cancel()
    second.cancel()
    third = asyncio.create_task(batcher.ask("k", "c"))
    await begun(third)
    oracle.go()
    assert await third == "C"
    assert oracle.calls == [("k", ["a", "b"]), ("k", ["c"])]


async def test_a_failure_goes_to_everyone_in_the_call_and_to_nobody_after() -> None:
    oracle = Oracle()
    oracle.fails = True
    batcher = Batcher(oracle, 4)
    tasks = [asyncio.create_task(batcher.ask("k", text)) for text in "ab"]
    oracle.go()
    for task in tasks:
        with pytest.raises(RuntimeError, match="broken"):
            await task
    oracle.fails = False
    oracle.go()
    assert await batcher.ask("k", "c") == "C"


async def test_an_answer_too_few_is_an_error() -> None:
    async def short(key: str, questions: Sequence[str]) -> list[str]:
        return []

    with pytest.raises(EngineFailure, match="0 answers to 1"):
        await Batcher(short, 4).ask("k", "a")
