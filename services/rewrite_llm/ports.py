"""What the use cases need of others."""

from collections.abc import Callable, Generator, Sequence
from typing import Protocol

from services.rewrite_llm.domain import Candidate


def go_on() -> None:
    """Let work continue."""


class Engine(Protocol):
    """Answers the three questions. A plain object: whoever shares one between threads must take turns."""

    def choose(self, candidates: Sequence[Candidate], texts: Sequence[str]) -> list[tuple[float, ...]]:
        """Return, for each text, the log-odds of each candidate, in the order of the candidates."""
        ...

    def unsafe(self, texts: Sequence[str], check: Callable[[], None] = go_on) -> list[float]:
        """Return, for each text, the probability that it is unsafe, 0 to 1.

        Long texts take several passes; `check` is called before each, and ends the work by raising.
        """
        ...

    def reword(self, text: str, categories: Sequence[str], max_chars: int) -> Generator[None, None, str]:
        """Return a safe wording of at most `max_chars` characters, giving the thread up at each `yield`."""
        ...


class LanguageModel(Protocol):
    """An engine that may be loading, busy or broken. Every method raises a `ServingError` when it is."""

    @property
    def id(self) -> str:
        """Id of the model."""
        ...

    @property
    def caveat(self) -> str:
        """Why its last answer is worth less than usual; empty if it is not."""
        ...

    async def choose(self, candidates: Sequence[Candidate], text: str) -> tuple[float, ...]:
        """Return the log-odds of each candidate, in the order of the candidates."""
        ...

    async def unsafe(self, text: str) -> float:
        """Return the probability that the text is unsafe, 0 to 1."""
        ...

    async def reword(self, text: str, categories: Sequence[str], max_chars: int) -> str:
        """Return a safe wording of at most `max_chars` characters."""
        ...
