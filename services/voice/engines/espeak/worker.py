"""The espeak process: reads tasks and writes audio as `frames` says. Started as `python -m … BUFFER_MS`."""

import sys

from services.voice.engines import frames
from services.voice.engines.espeak.library import Espeak, EspeakError
from services.voice.engines.espeak.tasks import Ready, Task
from services.voice.engines.line import Line

LARGEST_AUDIO_BYTES = 16384


class _Speaker:
    """One utterance on its way out: the first buffers at once, later ones gathered into ever larger frames."""

    def __init__(self, line: Line, sample_rate: int) -> None:
        self._line = line
        self._sample_rate = sample_rate
        self._gathered = bytearray()
        self._enough = 0

    def on_audio(self, samples: bytes) -> None:
        self._gathered += samples
        if len(self._gathered) >= self._enough:
            self.flush()
            self._enough = min(LARGEST_AUDIO_BYTES, max(len(samples), 2 * self._enough))

    def on_word(self, offset: int, length: int, sample: int) -> None:
        self._line.send(frames.WORD, frames.WORD_PAYLOAD.pack(offset, length, sample / self._sample_rate))

    def flush(self) -> None:
        if self._gathered:
            self._line.send(frames.AUDIO, bytes(self._gathered))
            self._gathered.clear()


def _perform(espeak: Espeak, task: Task, line: Line) -> None:
    """Speak, and send the frame that ends it."""
    speaker = _Speaker(line, espeak.sample_rate)
    try:
        espeak.speak(task, speaker.on_audio, speaker.on_word, line.stopped)
    except EspeakError as error:
        line.send(frames.FAILED, str(error).encode())
    else:
        speaker.flush()
        line.send(frames.DONE)


def main(buffer_ms: int) -> None:
    """Serve until the input ends."""
    import espeakng_loader

    line = Line()
    espeak = Espeak(espeakng_loader.get_library_path(), espeakng_loader.get_data_path(), buffer_ms=buffer_ms)
    line.send(frames.READY, Ready(espeak.sample_rate, tuple(espeak.voices())).to_bytes())
    for payload in line.tasks():
        _perform(espeak, Task.from_bytes(payload), line)


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]))
    except BrokenPipeError:
        sys.exit(0)
