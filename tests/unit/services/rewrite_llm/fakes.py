"""Language models that do as they are told."""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import TypeVar

from services.rewrite_llm.domain import Candidate
from services.rewrite_llm.ports import go_on

T = TypeVar("T")


class ScriptedModel:
    """A `LanguageModel` with fixed answers; an exception among them is raised, None means never."""

    id = "scripted"
    caveat = ""

    def __init__(
        self,
        chosen: tuple[float, ...] | Exception | None = None,
        chance: float | Exception | Callable[[str], float] | None = 0.0,
        wording: str | Exception | None = None,
    ) -> None:
        self.asked: list[tuple[str, str]] = []
        self._chosen, self._chance, self._wording = chosen, chance, wording

    async def choose(self, candidates: Sequence[Candidate], text: str) -> tuple[float, ...]:
        return await self._answer("choose", text, self._chosen)

    async def unsafe(self, text: str) -> float:
        chance = self._chance
        return await self._answer("unsafe", text, chance(text) if callable(chance) else chance)

    async def reword(self, text: str, categories: Sequence[str], max_chars: int) -> str:
        return await self._answer("reword", text, self._wording)

    async def _answer(self, task: str, text: str, answer: T | Exception | None) -> T:
        self.asked.append((task, text))
        if answer is None:
            await _never()
            raise AssertionError
        if isinstance(answer, Exception):
            raise answer
        return answer


def _never() -> Awaitable[None]:
    return asyncio.get_running_loop().create_future()


class ScriptedEngine:
    """An `Engine` that echoes: scores by the length of ids, unsafe by the word "unsafe", rewords to upper case."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, ...]] = []

    def choose(self, candidates: Sequence[Candidate], texts: Sequence[str]) -> list[tuple[float, ...]]:
        self.batches.append(tuple(texts))
        return [tuple(float(len(each.id)) for each in candidates) for _ in texts]

    def unsafe(self, texts: Sequence[str], check: Callable[[], None] = go_on) -> list[float]:
        self.batches.append(tuple(texts))
        return [float("unsafe" in text) for text in texts]

    def reword(self, text: str, categories: Sequence[str], max_chars: int) -> Generator[None, None, str]:
        yield
        return text.upper()[:max_chars]
