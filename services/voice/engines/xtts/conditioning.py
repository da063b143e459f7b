"""From a clip to a voice, with the settings of the checkpoint, as coqui-tts does it from a file."""

from typing import Any

import torch
from torchaudio.functional import resample
from TTS.tts.models.xtts import wav_to_mel_cloning

from services.voice.domain import Clip
from services.voice.engines.xtts.speakers import Speaker

RATE = 22050
SPEAKER_RATE = 16000
SHORTEST_S = 0.33
"""Chunks below this say nothing."""


def of_clip(model: Any, clip: Clip) -> Speaker:
    """Return the voice of a clip. `model` is an `Xtts` whose encoder is wherever it was placed."""
    config = model.config
    samples = torch.from_numpy(clip.samples)[None].clamp(-1, 1)
    audio = resample(samples, clip.sample_rate, RATE)[:, : RATE * config.max_ref_len]
    if config.sound_norm_refs:
        audio = audio / audio.abs().max() * 0.75
    return Speaker(_conditioning(model, audio), _speaker(model.hifigan_decoder.speaker_encoder, audio))


def _conditioning(model: Any, audio: torch.Tensor) -> torch.Tensor:
    """Return what the GPT is told of the voice, shape (tokens, width): the mean over chunks."""
    config, gpt = model.config, model.gpt
    device = next(gpt.conditioning_encoder.parameters()).device
    chunks = audio[:, : RATE * config.gpt_cond_len].split(RATE * config.gpt_cond_chunk_len, dim=1)
    styles = [
        gpt.get_style_emb(_mel(chunk, model.mel_stats.cpu()).to(device))
        for chunk in chunks
        if chunk.shape[1] >= SHORTEST_S * RATE
    ]
    return torch.stack(styles).mean(0)[0].T.float().cpu()


def _mel(audio: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
    """Return the normalised mel spectrogram (1, 80, frames), with the numbers of XTTS v2."""
    mel: torch.Tensor = wav_to_mel_cloning(
        audio, mel_norms=norms, n_fft=2048, hop_length=256, win_length=1024, sample_rate=RATE
    )
    return mel


def _speaker(encoder: Any, audio: torch.Tensor) -> torch.Tensor:
    device = next(encoder.parameters()).device
    embedding: torch.Tensor = encoder(resample(audio, RATE, SPEAKER_RATE).to(device), l2_norm=True)
    return embedding[0].float().cpu()
