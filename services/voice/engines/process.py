"""The server's side of one engine process."""

import asyncio
import logging
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence

import psutil

from servekit.errors import EngineFailure
from services.voice.engines import frames

logger = logging.getLogger(__name__)

START_LIMIT_S = 30.0
STOP_LIMIT_S = 30.0
"""Seconds that a process may take to end what nobody wants any more: Piper looks at its line once a sentence."""
Frame = tuple[bytes, bytes]
"""Kind and payload."""


class SpeechProcess:
    """One utterance at a time. When it breaks or is killed, `alive` turns False and it is of no more use."""

    def __init__(
        self,
        name: str,
        process: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._name = name
        self._process = process
        self._reader = reader
        self._writer = writer
        self._speaking = False
        self._in_order = True
        self._header: tuple[bytes, int] | None = None
        """Kind and length of the frame whose payload is yet to be read: the reading may have been cancelled there."""

    @classmethod
    async def start(cls, name: str, module: str, *arguments: str) -> tuple["SpeechProcess", bytes]:
        """Run a Python module with `Line`, and return it with the payload of its `READY`. Raises `EngineFailure`."""
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await asyncio.open_connection(sock=ours)
            try:
                process = _spawn(theirs, module, arguments)
            except OSError as error:
                writer.close()
                raise EngineFailure(f"a process of {name} could not be started: {error}") from error
        started = cls(name, process, reader, writer)
        try:
            return started, await started._ready()
        except BaseException:
            started.kill()
            raise

    async def _ready(self) -> bytes:
        try:
            async with asyncio.timeout(START_LIMIT_S):
                kind, payload = await self._next_frame()
        except TimeoutError as error:
            raise EngineFailure(f"a process of {self._name} was not ready after {START_LIMIT_S:.0f} s") from error
        if kind == frames.FAILED:
            raise EngineFailure(f"a process of {self._name} could not begin: {payload.decode()}")
        if kind != frames.READY:
            raise EngineFailure(f"a process of {self._name} began with a frame of kind {kind!r}")
        return payload

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

    async def speak(self, task: bytes) -> AsyncGenerator[Frame, None]:
        """Yield `AUDIO` and `WORD` frames. Closing the generator stops the process at its next look at the line.

        Raises `EngineFailure` if the engine refuses or the process breaks.
        """
        self._send(frames.SPEAK, task)
        self._speaking = True
        try:
            while True:
                kind, payload = await self._next_frame()
                if kind in (frames.DONE, frames.FAILED):
                    self._speaking = False
                    if kind == frames.FAILED:
                        raise EngineFailure(f"{self._name}: {payload.decode()}")
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
        """Cancel what is being spoken and read on to its end, so that the next task begins with a clean line.

        A process that hangs is ended, for its place would be lost to all who come.
        """
        try:
            self._send(frames.CANCEL)
            async with asyncio.timeout(STOP_LIMIT_S):
                while (await self._next_frame())[0] not in (frames.DONE, frames.FAILED):
                    pass
        except TimeoutError:
            logger.warning("process %d of %s did not stop within %g s and is ended", self.pid, self._name, STOP_LIMIT_S)
            self.kill()
        except BaseException as error:
            self.kill()
            if not isinstance(error, EngineFailure):
                raise
        self._speaking = False

    def _send(self, kind: bytes, payload: bytes = b"") -> None:
        self._writer.write(frames.pack(kind, payload))

    async def _next_frame(self) -> Frame:
        try:
            if self._header is None:
                self._header = frames.HEADER.unpack(await self._reader.readexactly(frames.HEADER.size))
            kind, length = self._header
            payload = await self._reader.readexactly(length) if length else b""
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            self.kill()
            gone = f"process {self.pid} of {self._name} is gone, exit status {self._process.returncode}"
            raise EngineFailure(gone) from error
        self._header = None
        return kind, payload


def _spawn(channel: socket.socket, module: str, arguments: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Start the module with the socket as its input and output, in a session of its own: signals go to the server.

    `subprocess` does not fork the Python process, which would hang a busy gRPC server.
    """
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.Popen(command, stdin=channel.fileno(), stdout=channel.fileno(), start_new_session=True)
