"""Reads a checkpoint as coqui-tts writes it. Of pickles only the tensors are read, nothing in them runs."""

import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode
from transformers.utils import logging as transformers_logging
from TTS.tts.configs.xtts_config import XttsConfig
from TTS.tts.layers.xtts.tokenizer import VoiceBpeTokenizer
from TTS.tts.models.xtts import Xtts, _legacy_safe_globals

from servekit.errors import ModelUnavailable
from services.voice.engines.xtts.weights import CONFIG, PICKLE, SAFETENSORS, VOCABULARY

_ONLY_FOR_TRAINING = ("torch_mel_spectrogram_style_encoder", "torch_mel_spectrogram_dvae", "dvae")
_SAID_TWICE = ("gpt.gpt_inference.", "gpt.gpt.wte.")
"""What the first checkpoints hold a second time under the names of upstream's inference wrapper."""


class _WithoutRandomness(TorchFunctionMode):
    """Leaves new weights as they are: drawing half a billion random numbers takes longer than reading the real ones."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in (torch.Tensor.normal_, torch.Tensor.uniform_):
            return args[0]
        return func(*args, **(kwargs or {}))


def load(folder: Path) -> Any:
    """Return the `Xtts` of a folder, in float32 on the CPU, ready to be placed.

    Weight norms are folded into the weights.
    Raises `ModelUnavailable` saying what is wrong with the folder.
    """
    transformers_logging.set_verbosity_error()  # it minds the ids of a vocabulary that the GPT does not use
    try:
        config = XttsConfig()
        config.load_json(folder / CONFIG)
        with _WithoutRandomness():
            model = Xtts(config)
            model.tokenizer = VoiceBpeTokenizer(vocab_file=folder / VOCABULARY)
            model.init_models()
        model.load_state_dict(_state(folder), assign=True)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, pickle.UnpicklingError, SafetensorError) as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelUnavailable(f"{folder} holds no XTTS checkpoint that can be read: {first_line}") from error
    _fold_weight_norms(model.hifigan_decoder)
    return nn.Module.eval(model)  # not its own `eval`, which builds the wrapper that we do without


def _state(folder: Path) -> dict[str, torch.Tensor]:
    """Return the tensors by name, of safetensors if there are any."""
    if (folder / SAFETENSORS).is_file():
        state = load_file(folder / SAFETENSORS)
    else:
        with _legacy_safe_globals():
            state = torch.load(folder / PICKLE, map_location="cpu", weights_only=True, mmap=True)["model"]
    named = {name.removeprefix("xtts."): tensor for name, tensor in state.items()}
    return {
        name: tensor
        for name, tensor in named.items()
        if name.split(".")[0] not in _ONLY_FOR_TRAINING and not name.startswith(_SAID_TWICE)
    }


def _fold_weight_norms(module: nn.Module) -> None:
    """Compute once what upstream computes again in every call."""
    for each in module.modules():
        if parametrize.is_parametrized(each, "weight"):
            parametrize.remove_parametrizations(each, "weight")
