"""The espeak process: reads tasks from its standard input and writes audio to its standard output, as `frames` says.

It ends when its input does, so it never outlives the server. Started as `python -m services.voice.engines.espeak.worker
BUFFER_MS`.
"""

import os
import select
import signal
import sys

from services.voice.engines.espeak import frames
from services.voice.engines.espeak.frames import Ready, Task
from services.voice.engines.espeak.library import Espeak, EspeakError

LARGEST_AUDIO_BYTES = 16384


class _Speaker:
    """One utterance on its way out: the first buffers at once, later ones gathered into ever larger frames."""

    def __init__(self, out: int, commands: int, sample_rate: int) -> None:
        self._out = out
        self._commands = commands
        self._sample_rate = sample_rate
        self._gathered = bytearray()
        self._enough = 0

    def on_audio(self, samples: bytes) -> None:
        self._gathered += samples
        if len(self._gathered) >= self._enough:
            self.flush()
            self._enough = min(LARGEST_AUDIO_BYTES, max(len(samples), 2 * self._enough))

    def on_word(self, offset: int, length: int, sample: int) -> None:
        payload = frames.WORD_PAYLOAD.pack(offset, length, sample / self._sample_rate)
        write_all(self._out, frames.pack(frames.WORD, payload))

    def stopped(self) -> bool:
        """While speaking, the only thing that can arrive is `CANCEL`, or the end of the server."""
        return bool(select.select([self._commands], [], [], 0)[0])

    def flush(self) -> None:
        if self._gathered:
            write_all(self._out, frames.pack(frames.AUDIO, bytes(self._gathered)))
            self._gathered.clear()


def write_all(out: int, data: bytes) -> None:
    """Write all of `data` to a file descriptor, which may take less at a time."""
    view = memoryview(data)
    while view:
        view = view[os.write(out, view) :]


def _read_exactly(commands: int, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        more = os.read(commands, count - len(data))
        if not more:
            return None
        data += more
    return data


def _next_frame(commands: int) -> tuple[bytes, bytes] | None:
    header = _read_exactly(commands, frames.HEADER.size)
    if header is None:
        return None
    kind, length = frames.HEADER.unpack(header)
    payload = _read_exactly(commands, length)
    return None if payload is None else (kind, payload)


def _perform(espeak: Espeak, task: Task, out: int, commands: int) -> bytes:
    """Speak and return the frame that ends it."""
    speaker = _Speaker(out, commands, espeak.sample_rate)
    try:
        espeak.speak(task, speaker.on_audio, speaker.on_word, speaker.stopped)
    except EspeakError as error:
        return frames.pack(frames.FAILED, str(error).encode())
    speaker.flush()
    return frames.pack(frames.DONE)


def main(buffer_ms: int) -> None:
    """Serve until the input ends."""
    import espeakng_loader

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to handle
    commands = os.dup(0)
    out = os.dup(1)
    os.dup2(2, 1)  # what the library may print must not get between the frames
    espeak = Espeak(espeakng_loader.get_library_path(), espeakng_loader.get_data_path(), buffer_ms=buffer_ms)
    write_all(out, frames.pack(frames.READY, Ready(espeak.sample_rate, tuple(espeak.voices())).to_bytes()))
    while (frame := _next_frame(commands)) is not None:
        kind, payload = frame
        if kind == frames.SPEAK:  # a CANCEL that comes after the end has nothing left to do
            write_all(out, _perform(espeak, Task.from_bytes(payload), out, commands))


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]))
    except BrokenPipeError:
        sys.exit(0)
