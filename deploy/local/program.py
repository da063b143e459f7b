"""A server that others made, as a process: Prometheus, Alertmanager, Envoy."""

import asyncio
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Self

_STOP_S = 10.0
_LOOK_S = 0.1
_TAIL = 2000
"""Characters of the log that an error shows."""


class ProgramFailed(Exception):
    """A program ended by itself, or was not ready in time; the message has the end of its log."""


class Program:
    """Runs `command` inside the block, ready from the start: that is when `ready_url` answers 200."""

    def __init__(
        self, command: Sequence[str | Path], log: Path, ready_url: str, *, ready_seconds: float = 30.0
    ) -> None:
        self._ready_seconds = ready_seconds
        self._command = command
        self._log = log
        self._ready_url = ready_url

    async def __aenter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(*self._command, stdout=log, stderr=log)
        self._ended = asyncio.ensure_future(self._process.wait())
        try:
            async with asyncio.timeout(self._ready_seconds):
                await self._ready()
        except TimeoutError:
            await self._stop()
            raise self._failed(f"not ready after {self._ready_seconds:.0f} s") from None
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stop()

    async def lives(self, seconds: float) -> None:
        """Return after so long; raises `ProgramFailed` as soon as the program has ended."""
        await asyncio.wait([self._ended], timeout=seconds)
        if self._ended.done():
            raise self._failed(f"ended with code {self._ended.result()}")

    async def _ready(self) -> None:
        while True:
            try:
                return await asyncio.to_thread(_get, self._ready_url)
            except OSError:
                await self.lives(_LOOK_S)

    async def _stop(self) -> None:
        if self._ended.done():
            return
        self._process.terminate()
        try:
            await asyncio.wait([self._ended], timeout=_STOP_S)
        finally:
            if not self._ended.done():
                self._process.kill()
        await self._ended

    def _failed(self, what: str) -> ProgramFailed:
        tail = self._log.read_text(encoding="utf-8", errors="replace")[-_TAIL:]
        return ProgramFailed(f"{self._command[0]} {what}:\n{tail}")


def _get(url: str) -> None:
    with urllib.request.urlopen(url, timeout=10):
        pass
