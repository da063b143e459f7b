"""A process whose answer is no longer wanted goes on with the next task."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import pytest

from services.voice.engines import frames
from services.voice.engines import process as processes
from services.voice.engines.process import Frame, SpeechProcess

AUDIO = frames.pack(frames.AUDIO, b"samples")
NEXT = frames.pack(frames.AUDIO, b"others")
DONE = frames.pack(frames.DONE)


@pytest.fixture
async def says() -> asyncio.StreamReader:
    return asyncio.StreamReader()


@pytest.fixture
def silent() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as silent:
        yield silent


@pytest.fixture
async def process(silent: "subprocess.Popen[bytes]", says: asyncio.StreamReader) -> AsyncIterator[SpeechProcess]:
    ours, theirs = socket.socketpair()
    with theirs:
        _, writer = await asyncio.open_connection(sock=ours)
        process = SpeechProcess("robot", silent, says, writer)
        yield process
        process.kill()


async def first(process: SpeechProcess) -> Frame:
    async with aclosing(process.speak(b"task")) as answer:
        return await anext(answer)


@pytest.mark.parametrize("read", [0, frames.HEADER.size - 1, frames.HEADER.size, len(AUDIO) - 1])
async def test_a_caller_may_leave_in_the_midst_of_a_frame(
    process: SpeechProcess, says: asyncio.StreamReader, read: int
) -> None:
    says.feed_data(AUDIO[:read])
    listening = asyncio.create_task(first(process))
    await asyncio.sleep(0)
    listening.cancel()
    says.feed_data(AUDIO[read:] + DONE + NEXT + DONE)
    says.feed_eof()
    with pytest.raises(asyncio.CancelledError):
        await listening
    assert process.alive
    assert await first(process) == (frames.AUDIO, b"others")


async def test_a_process_that_does_not_stop_is_ended(
    process: SpeechProcess, says: asyncio.StreamReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "STOP_LIMIT_S", 0.0)
    says.feed_data(AUDIO)
    assert await first(process) == (frames.AUDIO, b"samples")
    assert not process.alive
