"""Whatever happens while a studio starts or stops, it leaves nothing running. Its services are real processes."""

import asyncio
import gc
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from deploy.local.studio import SERVICES, Process, StartFailed, Studio

WAITS = "import time; time.sleep(600)"
"""A program that never serves and does not end by itself: no test waits for it."""


@dataclass(frozen=True)
class Script(Process):
    """A service that never serves."""

    code: str = WAITS

    @property
    def command(self) -> list[str]:
        """Return its command line."""
        return [sys.executable, "-c", self.code]


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return studio_of_scripts(tmp_path)


def studio_of_scripts(folder: Path, ready_seconds: float = 60.0) -> Studio:
    studio = Studio(folder, ready_seconds=ready_seconds)
    studio.services = {name: Script(name, 1, 1, {}) for name in SERVICES}
    return studio


async def all_ended(studio: Studio) -> bool:
    """Wait for processes that were killed a moment ago, and tell whether any had to be waited for too long."""
    async with asyncio.timeout(5):
        await asyncio.gather(*(process.wait() for process in studio.running.values()))
    return all(process.returncode is not None for process in studio.running.values())


async def test_one_service_that_fails_stops_the_others(studio: Studio) -> None:
    studio.services["voice"] = replace(studio.services["voice"], code="raise SystemExit('no voice')")  # type: ignore[call-arg]
    with pytest.raises(StartFailed, match="voice ended with code 1:\nno voice"):
        await studio.__aenter__()
    assert await all_ended(studio)


async def test_a_studio_that_is_not_healthy_in_time_is_stopped(tmp_path: Path) -> None:
    studio = studio_of_scripts(tmp_path, ready_seconds=0.01)
    with pytest.raises(StartFailed, match="not healthy after"):
        await studio.__aenter__()
    assert await all_ended(studio)


# asyncio kills a process whose start is cancelled half-way, and CPython may warn of it before it is reaped
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_studio_cancelled_while_it_starts_is_stopped(studio: Studio) -> None:
    starting = asyncio.create_task(studio.__aenter__())
    while len(studio.running) < len(SERVICES):  # noqa: ASYNC110  # until the processes are there
        await asyncio.sleep(0)
    starting.cancel()
    await asyncio.wait([starting])
    assert starting.cancelled()
    assert await all_ended(studio)
    gc.collect()  # such a warning comes here, not in somebody else's test


async def test_a_stop_that_is_cancelled_kills(studio: Studio) -> None:
    starting = asyncio.create_task(studio.start("voice"))
    while not studio.running:  # noqa: ASYNC110  # until the process is there
        await asyncio.sleep(0)
    studio.running["voice"].send_signal(signal.SIGSTOP)  # deaf to SIGTERM
    stopping = asyncio.create_task(studio.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    await asyncio.wait([stopping, starting])
    assert await all_ended(studio)
    assert studio.running["voice"].returncode == -signal.SIGKILL
