"""A toy server that knows its callers."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from servekit import context
from servekit.app import App
from servekit.clock import SYSTEM_CLOCK, Clock
from servekit.keys import new_key
from servekit.settings import ServerSettings
from servekit.testing import Toy, local

OnMessage = Callable[[str], Awaitable[str]]


async def who(text: str) -> str:
    """Answer with the caller's name."""
    return context.current().caller


class Door:
    """The files of a toy server, and where it listens once `open` was called."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self.registry = CollectorRegistry()
        self.callers = folder / "callers.toml"
        self._audit = folder / "audit.log"

    def admit(self, name: str = "ann", extra: str = "") -> str:
        """Add a caller to the file and return his key."""
        key, stored = new_key()
        with self.callers.open("a") as file:
            file.write(f'[[caller]]\nname = "{name}"\nkeys = ["{stored.text}"]\n{extra}\n')
        return key

    async def open(
        self, on_message: OnMessage = who, clock: Clock = SYSTEM_CLOCK, *, edge: bool = False, **settings: Any
    ) -> str:
        """Serve, and return the address."""
        files = {"callers_file": self.callers, "audit_file": self._audit}
        chosen = local(ServerSettings, **{**files, **settings})
        app = App(chosen, Toy(on_message).register, registry=self.registry, clock=clock, edge=edge)
        return await self._stack.enter_async_context(app.serving())

    async def close(self) -> None:
        """Stop serving, so that everything is counted and written."""
        await self._stack.aclose()

    def audited(self) -> list[dict[str, Any]]:
        """Return the lines of the audit log."""
        return [json.loads(line) for line in self._audit.read_text().splitlines()]

    def refused(self, cause: str) -> float:
        """Return how often a call was turned away for this cause."""
        return self.registry.get_sample_value("servekit_refused_total", {"cause": cause}) or 0


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with AsyncExitStack() as stack:
        yield Door(tmp_path, stack)


@pytest.fixture(params=Toy.KINDS)
def method(request: pytest.FixtureRequest) -> str:
    """Each method of the toy, so that all kinds and both styles of streaming are covered."""
    name: str = request.param
    return name
