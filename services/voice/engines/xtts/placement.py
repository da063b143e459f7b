"""Puts the parts of a loaded model where a mode says."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from services.voice.engines.xtts.layers import HEAVY, LINEAR, OnCpu, Packed, replace
from services.voice.engines.xtts.modes import CPU, Mode
from services.voice.engines.xtts.parking import Parking
from services.voice.engines.xtts.sampling import Sampling
from services.voice.engines.xtts.vocoder import Vocoder, context_frames, hop


@dataclass(frozen=True, slots=True)
class Facts:
    """What is said of a checkpoint by its configuration."""

    sampling: Sampling
    vocabulary: int
    start: int
    """Audio token before the first."""
    stop: int
    """Audio token after the last."""
    longest: int
    """Audio tokens at most."""
    text_limit: int
    """Text tokens at most."""
    width: int
    """Of a voice's conditioning."""
    speaker_channels: int
    """Of a voice's speaker."""
    sample_rate: int

    @classmethod
    def of(cls, model: Any) -> "Facts":
        """Return those of an `Xtts`."""
        gpt, args = model.gpt, model.args
        return cls(
            Sampling.of(model.config),
            gpt.num_audio_tokens,
            gpt.start_audio_token,
            gpt.stop_audio_token,
            gpt.max_gen_mel_tokens,
            args.gpt_max_text_tokens - 1,
            gpt.model_dim,
            args.d_vector_dim,
            args.output_sample_rate,
        )


class Placed:
    """A model where it runs."""

    def __init__(self, model: Any, mode: Mode, dtype: torch.dtype) -> None:
        self.mode = mode
        self.dtype = dtype
        self.facts = Facts.of(model)
        self.model = model
        self.gpt = model.gpt
        self.vocoder = _vocoder(model, mode)
        for part in _gpt_parts(model.gpt):
            part.to(mode.gpt, dtype)
        for part in _encoder_parts(model):
            part.to(mode.encoder)
        self.resident_bytes = sum(each.nbytes for each in (*model.parameters(), *model.buffers()))
        self._parking = Parking(model, mode.parked_on) if mode.parked_on else None
        if mode.name == "layers":
            replace(model.gpt, HEAVY, OnCpu)
            replace(model.hifigan_decoder.waveform_decoder, HEAVY, OnCpu)
        elif mode.gpt == CPU and not mode.parked_on and _packing_pays(dtype):
            replace(model.gpt.gpt, LINEAR, Packed)
            model.gpt.mel_head = Packed(model.gpt.mel_head)

    def wake(self) -> None:
        """Have the weights where they are needed."""
        if self._parking:
            self._parking.wake()

    def sleep(self) -> None:
        """Nobody speaks for now."""
        if self._parking:
            self._parking.sleep()


def _vocoder(model: Any, mode: Mode) -> Vocoder:
    decoder = model.hifigan_decoder
    generator = decoder.waveform_decoder
    scales = (
        decoder.ar_mel_length_compression / decoder.output_hop_length,
        decoder.output_sample_rate / decoder.input_sample_rate,
    )
    context, samples = context_frames(generator), hop(generator)
    placed, together = generator.to(mode.vocoder), mode.vocoder != CPU
    return Vocoder(placed, mode.vocoder, scales=scales, hop=samples, context=context, together=together)


def _gpt_parts(gpt: Any) -> Sequence[nn.Module]:
    embeddings = (gpt.text_embedding, gpt.mel_embedding, gpt.text_pos_embedding, gpt.mel_pos_embedding)
    return (gpt.gpt, *embeddings, gpt.final_norm, gpt.mel_head)


def _encoder_parts(model: Any) -> Sequence[nn.Module]:
    """Return what makes voices of clips; it stays in float32."""
    perceiver = [model.gpt.conditioning_perceiver] if model.gpt.use_perceiver_resampler else []
    return (model.gpt.conditioning_encoder, *perceiver, model.hifigan_decoder.speaker_encoder)


def _packing_pays(dtype: torch.dtype) -> bool:
    if dtype != torch.bfloat16 or not torch.backends.mkldnn.is_available():
        return False
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
