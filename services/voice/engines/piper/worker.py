"""The Piper process: reads tasks and writes audio as `frames` says. Started as `python -m … VOICE.onnx …`.

Samples are 32-bit floats, so that what is not a number can be seen as such by the server.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from services.voice.engines import frames
from services.voice.engines.line import Line
from services.voice.engines.piper.tasks import Task

if TYPE_CHECKING:
    from piper import PiperVoice


def _perform(voice: "PiperVoice", task: Task, line: Line) -> None:
    """Speak a sentence at a time; raises whatever Piper raises."""
    from piper import SynthesisConfig

    how = SynthesisConfig(
        speaker_id=task.speaker,
        length_scale=task.slowness * voice.config.length_scale,
        normalize_audio=False,  # a sentence keeps its loudness beside the others, and silence is seen as such
    )
    for chunk in voice.synthesize(task.text, how):
        line.send(frames.AUDIO, chunk.audio_float_array.astype("<f4").tobytes())
        if line.stopped():
            return


def _serve(voices: "Mapping[str, PiperVoice]", line: Line) -> None:
    for payload in line.tasks():
        task = Task.from_bytes(payload)
        try:
            _perform(voices[task.file], task, line)
        except BrokenPipeError:
            raise
        except Exception as error:  # whatever the library makes of a text, the next one is another matter
            line.send(frames.FAILED, f"{type(error).__name__}: {error}".encode())
        else:
            line.send(frames.DONE)


def main(files: Sequence[str]) -> None:
    """Load the voices and serve until the input ends."""
    line = Line()
    try:
        from piper import PiperVoice

        voices = {file: PiperVoice.load(file) for file in files}
    except Exception as error:  # a file that is no voice, or libraries that do not fit: the server tells
        line.send(frames.FAILED, f"{type(error).__name__}: {error}".encode())
        return
    line.send(frames.READY)
    _serve(voices, line)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except BrokenPipeError:
        sys.exit(0)
