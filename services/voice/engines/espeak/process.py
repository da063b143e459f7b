"""The server's side of one espeak process."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator

import psutil

from servekit.errors import EngineFailure
from services.voice.engines.espeak import frames
from services.voice.engines.espeak.frames import Ready, Task

START_LIMIT_S = 30.0
Frame = tuple[bytes, bytes]
"""Kind and payload."""


class EspeakProcess:
    """One utterance at a time. When it breaks or is killed, `alive` turns False and it is of no more use."""

    def __init__(
        self, process: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._speaking = False
        self._in_order = True

    @classmethod
    async def start(cls, buffer_ms: int) -> tuple["EspeakProcess", Ready]:
        """Start a process and wait until it can speak. Raises `EngineFailure`."""
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await asyncio.open_connection(sock=ours)
            try:
                process = _spawn(theirs, buffer_ms)
            except OSError as error:
                writer.close()
                raise EngineFailure(f"an espeak process could not be started: {error}") from error
        started = cls(process, reader, writer)
        try:
            async with asyncio.timeout(START_LIMIT_S):
                kind, payload = await started._next_frame()
        except BaseException as error:
            started.kill()
            if isinstance(error, TimeoutError):
                raise EngineFailure(f"an espeak process was not ready after {START_LIMIT_S:.0f} s") from error
            raise
        if kind != frames.READY:
            started.kill()
            raise EngineFailure(f"an espeak process began with a frame of kind {kind!r}")
        return started, Ready.from_bytes(payload)

    @property
    def alive(self) -> bool:
        """True if it can be given work, as far as can be seen from here."""
        return self._in_order and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def resident_bytes(self) -> int:
        """Bytes of memory that the process takes; 0 if it is gone."""
        try:
            return int(psutil.Process(self.pid).memory_info().rss)
        except psutil.NoSuchProcess:
            return 0

    async def speak(self, task: Task) -> AsyncGenerator[Frame, None]:
        """Yield `AUDIO` and `WORD` frames. Closing the generator stops the process within one buffer of audio.

        Raises `EngineFailure` if espeak refuses or the process breaks.
        """
        self._send(frames.SPEAK, task.to_bytes())
        self._speaking = True
        try:
            while True:
                kind, payload = await self._next_frame()
                if kind in (frames.DONE, frames.FAILED):
                    self._speaking = False
                    if kind == frames.FAILED:
                        raise EngineFailure(f"espeak: {payload.decode()}")
                    return
                yield kind, payload
        finally:
            if self._speaking and self._in_order:
                await self._stop_speaking()

    def kill(self) -> None:
        """End the process now and reap it."""
        self._in_order = False
        self._writer.close()
        self._process.kill()
        self._process.wait()

    async def _stop_speaking(self) -> None:
        """Cancel what is being spoken and read on to its end, so that the next task begins with a clean line."""
        try:
            self._send(frames.CANCEL)
            while (await self._next_frame())[0] not in (frames.DONE, frames.FAILED):
                pass
        except BaseException as error:
            self.kill()
            if not isinstance(error, EngineFailure):
                raise
        self._speaking = False

    def _send(self, kind: bytes, payload: bytes = b"") -> None:
        self._writer.write(frames.pack(kind, payload))

    async def _next_frame(self) -> Frame:
        try:
            kind, length = frames.HEADER.unpack(await self._reader.readexactly(frames.HEADER.size))
            return kind, await self._reader.readexactly(length) if length else b""
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            self.kill()
            raise EngineFailure(f"espeak process {self.pid} is gone, exit status {self._process.returncode}") from error


def _spawn(channel: socket.socket, buffer_ms: int) -> "subprocess.Popen[bytes]":
    """Start the worker with the socket as its input and output, in a session of its own: signals go to the server.

    `subprocess` does not fork the Python process, which would hang a busy gRPC server.
    """
    command = [sys.executable, "-m", "services.voice.engines.espeak.worker", str(buffer_ms)]
    return subprocess.Popen(command, stdin=channel.fileno(), stdout=channel.fileno(), start_new_session=True)
