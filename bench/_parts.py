"""Parts of the studio, for benchmarks that do not need all of it."""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from deploy.local.studio import Studio

LOGS = Path("out/bench")
"""Where the services write their logs."""


@asynccontextmanager
async def only(*names: str, router: dict[str, str] | None = None) -> AsyncIterator[Studio]:
    """Run the services `names`, started in that order; `router` changes environment variables of the router."""
    studio = Studio(_logs())
    studio.services["router"].environment.update(router or {})
    try:
        for name in names:
            await studio.start(name)
        yield studio
    finally:
        await studio.stop()


def _logs() -> Path:
    LOGS.mkdir(parents=True, exist_ok=True)
    return LOGS


@contextmanager
def helper(module: str, *arguments: str) -> Iterator[str]:
    """Run `python -m bench.<module>` and yield the address it prints."""
    command = [sys.executable, "-m", f"bench.{module}", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
