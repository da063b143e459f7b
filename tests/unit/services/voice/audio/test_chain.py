"""From blocks of samples to one stream of bytes."""

import numpy as np

from services.voice.audio.chain import Chain
from services.voice.domain import AudioFormat, Samples
from services.voice.encoders.factory import Encoders


def chain(audio_format: AudioFormat = AudioFormat.PCM_F32LE, rate: int = 22050, volume: float = 1.0) -> Chain:
    return Chain(Encoders().create(audio_format, rate), rate, volume=volume)


def samples_of(data: bytes) -> Samples:
    return np.frombuffer(data, "<f4")


def ramp(count: int, start: float = 0.0, end: float = 0.5) -> Samples:
    return np.linspace(start, end, count, dtype=np.float32)


def test_samples_at_the_wanted_rate_pass_at_once() -> None:
    assert np.array_equal(samples_of(chain().add(ramp(100), 22050)), ramp(100))


def test_volume_is_applied() -> None:
    assert np.allclose(samples_of(chain(volume=0.5).add(ramp(100), 22050)), ramp(100) / 2)


def test_the_header_comes_once_with_the_first_samples() -> None:
    wav = chain(AudioFormat.WAV)
    data = wav.add(ramp(10), 22050) + wav.add(ramp(10), 22050) + wav.finish()
    assert data.startswith(b"RIFF")
    assert data.count(b"RIFF") == 1


def test_without_samples_there_is_still_a_file() -> None:
    assert chain(AudioFormat.WAV).finish().startswith(b"RIFF")


def test_the_length_counts_what_came_out() -> None:
    made = chain(rate=8000)
    made.add(ramp(22050), 22050)
    made.finish()
    assert made.seconds == 1.0


def test_an_engine_of_another_rate_can_take_over() -> None:
    made = chain()
    data = made.add(ramp(22050), 22050) + made.add(ramp(24000), 24000) + made.finish()
    assert len(samples_of(data)) == 44100


def test_a_continuation_has_no_step() -> None:
    made = chain()
    made.add(ramp(100, 0.0, 0.5), 22050)
    assert abs(made.smooth(ramp(1000, -0.4, -0.4), 22050)[0] - 0.5) < 1e-6
