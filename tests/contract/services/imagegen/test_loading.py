"""Weights that cannot be loaded are a typed error that says what is wrong."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from servekit.errors import ModelUnavailable
from services.imagegen.engines.folders import Folders
from services.imagegen.engines.loading import load_pipeline


@pytest.fixture
def copy(models_dir: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny FLUX pipeline, to be damaged."""
    return Path(shutil.copytree(models_dir / "tiny_flux", tmp_path / "copy"))


def load(folder: Path, fractions: list[float] | None = None, *, allow_pickle: bool = False) -> None:
    heard = fractions if fractions is not None else []
    folders = Folders("tiny_flux", str(folder), folder, {})
    options: dict[str, Any] = {"device": "cpu", "dtype_name": "float32", "allow_pickle": allow_pickle}
    list(load_pipeline(folders, **options, on_progress=heard.append))


def test_progress_goes_from_component_to_component_up_to_one(copy: Path) -> None:
    fractions: list[float] = []
    load(copy, fractions)

    assert (len(fractions), fractions) == (4, sorted(fractions))
    assert fractions[-1] == 1.0


@pytest.fixture
def pickled(copy: Path) -> Path:
    """Return the pipeline with the transformer's weights as a pickle."""
    weights = copy / "transformer" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    return copy


def test_pickled_weights_are_refused(pickled: Path) -> None:
    with pytest.raises(ModelUnavailable, match="tiny_flux"):
        load(pickled)


def test_pickled_weights_are_read_where_that_is_allowed(pickled: Path) -> None:
    load(pickled, allow_pickle=True)


@pytest.mark.parametrize("damage", ["model_index.json", "vae/diffusion_pytorch_model.safetensors", "vae/config.json"])
def test_a_missing_file_is_a_typed_error(copy: Path, damage: str) -> None:
    (copy / damage).unlink()

    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        load(copy)


@pytest.mark.parametrize(
    "damage",
    ["model_index.json", "vae/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"],
)
def test_a_truncated_file_is_a_typed_error(copy: Path, damage: str) -> None:
    (copy / damage).write_bytes((copy / damage).read_bytes()[:40])

    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        load(copy)


def test_a_class_that_does_not_exist_is_a_typed_error(copy: Path) -> None:
    index = copy / "model_index.json"
    index.write_text(index.read_text().replace("FluxTransformer2DModel", "NoSuchModel"))

    with pytest.raises(ModelUnavailable, match="NoSuchModel"):
        load(copy)
