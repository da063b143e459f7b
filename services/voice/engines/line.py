"""An engine process's end of the line to the server: tasks on its standard input, audio on its standard output.

Imported by processes that have nothing else of ours in them.
"""

import os
import select
import signal
from collections.abc import Iterator

from services.voice.engines import frames


class Line:
    """The line. It ends with the server, so that no process outlives it."""

    def __init__(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to handle
        self._commands = os.dup(0)
        self._out = os.dup(1)
        os.dup2(2, 1)  # what a library may print must not get between the frames

    def tasks(self) -> Iterator[bytes]:
        """Yield tasks until the input ends. A `CANCEL` that comes after the end of a task has nothing left to do."""
        while (header := self._read_exactly(frames.HEADER.size)) is not None:
            kind, length = frames.HEADER.unpack(header)
            payload = self._read_exactly(length)
            if payload is None:
                return
            if kind == frames.SPEAK:
                yield payload

    def send(self, kind: bytes, payload: bytes = b"") -> None:
        """Write a frame, however little of it the socket takes at a time."""
        view = memoryview(frames.pack(kind, payload))
        while view:
            view = view[os.write(self._out, view) :]

    def stopped(self) -> bool:
        """Tell, amid a task, whether to end it: all that can arrive is `CANCEL`, or the end of the server."""
        return bool(select.select([self._commands], [], [], 0)[0])

    def _read_exactly(self, count: int) -> bytes | None:
        data = b""
        while len(data) < count:
            more = os.read(self._commands, count - len(data))
            if not more:
                return None
            data += more
        return data
