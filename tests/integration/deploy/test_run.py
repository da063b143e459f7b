"""The foreground studio lets its services stop by themselves. They are scripts here, its own process is real."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("run_scripts.py")
ROOT = SCRIPT.parents[3]


class Running:
    """The process and what it printed so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.printed: list[str] = []

    async def until(self, text: str, times: int = 1) -> None:
        """Wait until `text` was printed so often."""
        assert self.process.stdout is not None
        while sum(text in line for line in self.printed) < times:
            line = await self.process.stdout.readline()
            assert line, self.printed
            self.printed.append(line.decode())

    async def ended(self) -> int:
        """Wait for the end and return the exit code."""
        rest, _ = await self.process.communicate()
        self.printed += rest.decode().splitlines()
        assert self.process.returncode is not None
        return self.process.returncode

    def count(self, text: str) -> int:
        """Return in how many lines `text` was printed."""
        return sum(text in line for line in self.printed)


Run = Callable[..., Awaitable[Running]]


@pytest.fixture
def terminal() -> Iterator[None]:
    """Let SIGHUP mean what it does on a terminal, also where the tests themselves run below `nohup`."""
    usual = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, usual)


@pytest.fixture
async def run(terminal: None) -> AsyncIterator[Run]:
    started: list[Running] = []

    async def start(*arguments: str, stdout: int = asyncio.subprocess.PIPE) -> Running:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=stdout,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        started.append(Running(process))
        return started[-1]

    yield start
    for each in started:
        for _ in range(2):  # a test that failed leaves nothing running
            if each.process.returncode is None:
                each.process.terminate()
        await each.process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_of_the_terminal_lets_the_services_stop_by_themselves(run: Run, number: int) -> None:
    running = await run(str(SCRIPT), "1", "1")
    await running.until(" up", times=2)
    os.killpg(running.process.pid, number)
    assert await running.ended() == 128 + number
    assert running.count("stopped (rc=0)") == 2


async def test_a_signal_amid_the_start_stops_what_is_started(run: Run) -> None:
    running = await run(str(SCRIPT), "1", "1")
    await running.until("started (pid=")
    running.process.send_signal(signal.SIGINT)
    assert await running.ended() == 130
    assert running.count("stopped (rc=") == 2


async def test_the_services_stop_when_nobody_reads_on(run: Run) -> None:
    reading, writing = os.pipe()
    running = await run(str(SCRIPT), "2", "1", stdout=writing)
    os.close(writing)
    with os.fdopen(reading) as lines:
        printed = [next(lines) for _ in range(4)]  # that both have started, and that they are up
    (first,) = [int(line.rpartition("pid=")[2].rstrip(")\n")) for line in printed if "first started" in line]
    os.kill(first, signal.SIGTERM)  # it says so
    await running.process.wait()
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)


async def test_a_service_that_has_stopped_does_not_hurry_another_and_a_second_signal_does(run: Run) -> None:
    running = await run(str(SCRIPT), "1", "2")
    await running.until(" up", times=2)
    running.process.send_signal(signal.SIGINT)
    await running.until("stopped (rc=0)")
    running.process.send_signal(signal.SIGINT)
    assert await running.ended() == 130
    assert running.count("asked") == 3
    assert running.count("stopped (rc=0)") == 2


async def test_help_starts_nothing(run: Run) -> None:
    running = await run("-m", "deploy.local.run", "--help")
    assert await running.ended() == 0
    assert running.count("usage: python -m deploy.local.run") == 1


async def test_a_wrong_setting_is_told_before_anything_starts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_VOICE_GRACE_S", "soon")
    running = await run("-m", "deploy.local.run")
    assert await running.ended() == 1
    (line,) = running.printed
    assert line.startswith("cannot start: ATELIER_VOICE_GRACE_S: ")
