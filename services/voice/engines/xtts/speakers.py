"""The built-in speakers of a checkpoint, and voices as they are kept."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from servekit.errors import ModelUnavailable
from services.voice.domain import Latents, VoiceUnusable
from services.voice.engines.xtts.weights import SPEAKERS

_CONDITIONING, _SPEAKER = "gpt_cond_latent", "speaker_embedding"
"""Upstream's names."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """A voice as XTTS takes it: conditioning (tokens, width) and speaker (channels,), float32 on the host."""

    conditioning: torch.Tensor
    speaker: torch.Tensor

    @classmethod
    def of(cls, latents: Latents) -> "Speaker":
        """Return the voice that was kept. Raises `VoiceUnusable` for what another kind of engine has kept."""
        try:
            return cls(torch.from_numpy(latents[_CONDITIONING]), torch.from_numpy(latents[_SPEAKER]))
        except KeyError as error:
            raise VoiceUnusable("this voice was made with another engine; delete it and make it again") from error

    @property
    def latents(self) -> Latents:
        """What is to be kept of the voice."""
        return {_CONDITIONING: self.conditioning.numpy(), _SPEAKER: self.speaker.numpy()}


def read(folder: Path) -> Mapping[str, Speaker]:
    """Return the speakers of a folder by name; empty if it has none. Raises `ModelUnavailable`.

    The file is a pickle; it is read for its tensors alone.
    """
    path = folder / SPEAKERS
    if not path.is_file():
        return {}
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        return {name: _speaker(parts) for name, parts in found.items()}
    except (OSError, RuntimeError, KeyError, AttributeError, pickle.UnpicklingError) as error:
        raise ModelUnavailable(f"{path} holds no speakers that can be read: {type(error).__name__}") from error


def _speaker(parts: Mapping[str, torch.Tensor]) -> Speaker:
    return Speaker(parts[_CONDITIONING][0].float(), parts[_SPEAKER].reshape(-1).float())
