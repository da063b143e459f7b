"""The engine that a request works with, borrowed from residency."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from types import TracebackType
from typing import Self

from servekit.residency import Residency
from services.voice.ports import Engine

OnLoading = Callable[[str, float], None]
"""Called with the model and how much of it is loaded, 0 to 1."""


class Loan:
    """At most one engine at a time, given back when the block ends.

    Two requests that each hold one engine and want another's could wait for each other for ever: the engine in hand is
    given back before another is asked for.
    """

    def __init__(self, residency: Residency[Engine], on_loading: OnLoading) -> None:
        self._residency = residency
        self._on_loading = on_loading
        self._held = AsyncExitStack()
        self._engines: dict[str, Engine] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._give_back()

    async def engine(self, model: str) -> Engine:
        """Return the engine of `model`, the one in hand if it is that. Raises what residency raises."""
        if model not in self._engines:
            await self._give_back()
            acquired = self._residency.acquire(model, on_progress=partial(self._on_loading, model))
            self._engines[model] = (await self._held.enter_async_context(acquired)).value
        return self._engines[model]

    async def _give_back(self) -> None:
        self._engines.clear()
        await self._held.aclose()
