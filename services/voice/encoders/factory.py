"""Which encoder makes which format, and which sample rates that format knows."""

from collections.abc import Mapping

from services.voice.domain import AudioFormat
from services.voice.encoders.compressed import SndfileEncoder
from services.voice.encoders.pcm import PcmEncoder, WavEncoder
from services.voice.ports import Encoder

RATES: Mapping[AudioFormat, tuple[int, ...]] = {
    AudioFormat.OGG_OPUS: (8000, 12000, 16000, 24000, 48000),
    AudioFormat.MP3: (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
}
"""Hertz; formats that are not here take any rate."""


class Encoders:
    """Makes an encoder for each stream."""

    def rate_for(self, audio_format: AudioFormat, wanted: int) -> int:
        """Return `wanted` if the format knows it, else the next higher rate, else the highest."""
        rates = RATES.get(audio_format)
        if rates is None:
            return wanted
        return next((rate for rate in rates if rate >= wanted), rates[-1])

    def create(self, audio_format: AudioFormat, sample_rate: int) -> Encoder:
        """Make an encoder for one stream of mono audio."""
        match audio_format:
            case AudioFormat.WAV:
                return WavEncoder(sample_rate)
            case AudioFormat.PCM_S16LE | AudioFormat.PCM_F32LE:
                return PcmEncoder(floating=audio_format is AudioFormat.PCM_F32LE)
            case _:
                return SndfileEncoder(audio_format, sample_rate)
