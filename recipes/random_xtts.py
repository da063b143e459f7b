"""XTTS checkpoints with random weights, in XTTS's own format: what they say is noise, how they work is real.

For tests and benchmarks, and to try the engine without its licence: `python -m recipes.random_xtts FOLDER --size tiny`.
"""

# mypy: disable-error-code="no-untyped-call"
# (coqui-tts is not typed)

import argparse
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from TTS.tts.configs.xtts_config import XttsArgs, XttsConfig
from TTS.tts.layers.xtts.tokenizer import VoiceBpeTokenizer
from TTS.tts.models.xtts import Xtts

LANGUAGES = ("en", "es", "fr", "de", "it", "pt", "pl", "tr", "ru", "nl", "cs", "ar", "zh-cn", "hu", "ko", "ja", "hi")
SPECIAL = ("[STOP]", "[UNK]", "[SPACE]", *(f"[{language}]" for language in LANGUAGES))
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,;:!?'-äöüßéèñçабвгдежзийклмнопрстуфхцчшщъыьэюя"
SPEAKERS = ("Ada One", "Bob Two")
LOUDER = 8
"""Random weights whisper; this lets them be heard."""
CONDITIONING_TOKENS, SPEAKER_CHANNELS = 32, 512

TINY: dict[str, Any] = {
    "gpt_layers": 2,
    "gpt_n_model_channels": 64,
    "gpt_n_heads": 2,
    "gpt_num_audio_tokens": 66,
    "gpt_start_audio_token": 64,
    "gpt_stop_audio_token": 65,
    "gpt_max_audio_tokens": 15,
    "gpt_max_text_tokens": 80,
    "decoder_input_dim": 64,
    "output_hop_length": 448,
}
"""At most 12 audio tokens, 0.31 s: the inner size of the vocoder, which is what takes time, cannot be configured."""
FULL: dict[str, Any] = {}
"""The size of XTTS v2."""


def build(folder: Path, *, seed: int = 0, **arguments: Any) -> Any:
    """Return an `Xtts` with random weights and its tokenizer, which is saved in `folder`; `arguments` of `XttsArgs`."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    _tokenizer().save(str(folder / "vocab.json"))
    config = XttsConfig(
        model_args=XttsArgs(gpt_use_perceiver_resampler=True, **arguments), temperature=0.75, repetition_penalty=5.0
    )
    model = Xtts(config)
    model.tokenizer = VoiceBpeTokenizer(vocab_file=folder / "vocab.json")
    model.init_models()
    with torch.no_grad():
        model.hifigan_decoder.waveform_decoder.conv_post.weight *= LOUDER
    return model


def save(folder: Path, *, seed: int = 0, **arguments: Any) -> Path:
    """Save a checkpoint with two speakers and return its folder."""
    model = build(folder, seed=seed, **arguments)
    model.config.save_json(str(folder / "config.json"))
    torch.save({"model": model.state_dict()}, folder / "model.pth")
    torch.save({name: _speaker(model.gpt.model_dim) for name in SPEAKERS}, folder / "speakers_xtts.pth")
    return folder


def _speaker(width: int) -> dict[str, torch.Tensor]:
    return {
        "gpt_cond_latent": torch.randn(1, CONDITIONING_TOKENS, width),
        "speaker_embedding": torch.nn.functional.normalize(torch.randn(1, SPEAKER_CHANNELS, 1), dim=1),
    }


def _tokenizer() -> Tokenizer:
    """Return a tokenizer of single letters with XTTS's special tokens."""
    words = ["[START]", *SPECIAL, *dict.fromkeys(LETTERS)]
    tokenizer = Tokenizer(BPE({word: index for index, word in enumerate(words)}, [], unk_token="[UNK]"))
    tokenizer.add_special_tokens(["[START]", *SPECIAL])
    return tokenizer


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=("tiny", "full"), default="tiny")
    chosen = parser.parse_args()
    save(chosen.folder, **(TINY if chosen.size == "tiny" else FULL))
