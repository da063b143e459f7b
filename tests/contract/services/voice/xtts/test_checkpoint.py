"""Checkpoints are read as coqui-tts writes them, and nothing in them is run."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from servekit.errors import ModelUnavailable
from services.voice.engines.xtts import checkpoint, speakers


class Malice:
    """Runs a command when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self._target),)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """Return a copy of the checkpoint without its weights."""
    return Path(shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns("model.pth")))


def test_safetensors_hold_the_same(folder: Path, copy: Path) -> None:
    state = torch.load(folder / "model.pth", weights_only=True)["model"]
    save_file({name: tensor.contiguous().clone() for name, tensor in state.items()}, copy / "model.safetensors")
    ours, theirs = checkpoint.load(copy).state_dict(), checkpoint.load(folder).state_dict()
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())


def test_names_of_the_trainer_and_of_the_first_version_are_understood(folder: Path, copy: Path) -> None:
    state = torch.load(folder / "model.pth", weights_only=True)["model"]
    extra = {
        "xtts.dvae.x": torch.zeros(1),
        "xtts.gpt.gpt_inference.y": torch.zeros(1),
        "xtts.gpt.gpt.wte.weight": torch.zeros(1),
    }
    torch.save({"model": {f"xtts.{name}": tensor for name, tensor in state.items()} | extra}, copy / "model.pth")
    assert checkpoint.load(copy).gpt.heads == 2


def test_a_pickle_that_would_run_something_is_refused(copy: Path, tmp_path: Path) -> None:
    torch.save({"model": Malice(tmp_path / "harm")}, copy / "model.pth")
    torch.save({"Ada": Malice(tmp_path / "harm")}, copy / "speakers_xtts.pth")
    with pytest.raises(ModelUnavailable, match="copy holds no XTTS checkpoint"):
        checkpoint.load(copy)
    with pytest.raises(ModelUnavailable, match="speakers"):
        speakers.read(copy)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("damage", [b"no zip, no pickle", b""])
def test_damage_is_explained(copy: Path, damage: bytes) -> None:
    (copy / "model.pth").write_bytes(damage)
    with pytest.raises(ModelUnavailable, match="copy holds no XTTS checkpoint that can be read"):
        checkpoint.load(copy)
