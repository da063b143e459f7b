"""One stream of audio from engines to bytes: loudness, volume, sample rate, file format."""

import numpy as np

from services.voice.audio.gain import amplify
from services.voice.audio.loudness import LoudnessNormaliser
from services.voice.audio.resample import Resampler
from services.voice.domain import Samples
from services.voice.ports import Encoder

DECLICK_S = 0.003


class Chain:
    """Takes samples of any source rate and returns bytes as soon as there are some; nothing but the rate is delayed.

    With `normalize` the samples of a sentence are kept to be measured, until `end_sentence` at most.
    """

    def __init__(self, encoder: Encoder, sample_rate: int, *, volume: float = 1.0, normalize: bool = False) -> None:
        self._encoder = encoder
        self._sample_rate = sample_rate
        self._volume = volume
        self._normalize = normalize
        self._prefix = encoder.start()
        self._source_rate = 0
        self._resampler = Resampler(sample_rate, sample_rate)
        self._normaliser: LoudnessNormaliser | None = None
        self._samples_out = 0
        self._last = np.float32(0)

    @property
    def slow(self) -> bool:
        """True if the encoder should not run on the event loop."""
        return self._encoder.slow

    @property
    def seconds(self) -> float:
        """Length of the audio so far."""
        return self._samples_out / self._sample_rate

    def add(self, samples: Samples, source_rate: int) -> bytes:
        """Take the next samples of the sentence."""
        data = self._switch(source_rate) if source_rate != self._source_rate else b""
        if len(samples):
            self._last = samples[-1]
        return data + self._out(samples if self._normaliser is None else self._normaliser.add(samples))

    def smooth(self, samples: Samples, source_rate: int) -> Samples:
        """Return samples that continue where the last ones broke off, without a step."""
        count = min(len(samples), round(DECLICK_S * source_rate))
        if not count:
            return samples
        step = (self._last - samples[0]) * np.linspace(1, 0, count, dtype=np.float32)
        return np.concatenate((samples[:count] + step, samples[count:]))

    def end_sentence(self) -> bytes:
        """Return what was kept of the sentence."""
        return b"" if self._normaliser is None else self._out(self._normaliser.end_sentence())

    def finish(self) -> bytes:
        """Return the rest; the chain is of no more use."""
        return self.end_sentence() + self._encode(self._resampler.finish()) + self._start() + self._encoder.finish()

    def _switch(self, source_rate: int) -> bytes:
        """Go over to an engine with another sample rate."""
        data = self.end_sentence() + self._encode(self._resampler.finish())
        self._source_rate = source_rate
        self._resampler = Resampler(source_rate, self._sample_rate)
        self._normaliser = LoudnessNormaliser(source_rate) if self._normalize else None
        return data

    def _out(self, samples: Samples) -> bytes:
        return self._encode(self._resampler.convert(amplify(samples, self._volume)))

    def _encode(self, samples: Samples) -> bytes:
        if not len(samples):
            return b""
        self._samples_out += len(samples)
        return self._start() + self._encoder.encode(samples)

    def _start(self) -> bytes:
        """Return the header, once: it travels with the first samples."""
        prefix, self._prefix = self._prefix, b""
        return prefix
