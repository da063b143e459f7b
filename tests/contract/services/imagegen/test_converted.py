"""Weights kept in the data type they are used in."""

import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FluxTransformer2DModel
from safetensors.torch import load_file, save_file
from transformers import T5EncoderModel

from services.imagegen.engines.converted import ConvertedWeights, read, stored_dtype

PARTS = pytest.mark.parametrize(
    ("kind", "name"), [(FluxTransformer2DModel, "transformer"), (T5EncoderModel, "text_encoder_2")]
)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "kept"


@pytest.fixture
def flux(models_dir: Path) -> Path:
    return models_dir / "tiny_flux"


def bytes_of(model: Any) -> dict[str, Any]:
    return {
        name: (each.dtype, each.contiguous().view(torch.uint8).numpy()) for name, each in model.state_dict().items()
    }


def assert_same(one: Any, other: Any) -> None:
    ours, theirs = bytes_of(one), bytes_of(other)
    assert ours.keys() == theirs.keys()
    assert all(ours[name][0] == theirs[name][0] for name in ours)
    assert all(np.array_equal(ours[name][1], theirs[name][1]) for name in ours)


@PARTS
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_what_is_kept_is_what_the_library_makes(
    flux: Path, kept: Path, kind: Any, name: str, dtype: torch.dtype
) -> None:
    expected, weights = read(kind, flux / name, dtype, {}), ConvertedWeights(kept)
    for _ in range(2):
        assert_same(weights.load(kind, flux / name, dtype, {}), expected)
    assert len(list(kept.iterdir())) == 1


def test_the_second_load_reads_what_is_kept(flux: Path, kept: Path) -> None:
    source, weights = flux / "transformer", ConvertedWeights(kept)
    weights.load(FluxTransformer2DModel, source, torch.bfloat16, {})
    [folder] = kept.iterdir()
    assert (stored_dtype(source), stored_dtype(folder)) == (torch.float32, torch.bfloat16)
    second = weights.load(FluxTransformer2DModel, source, torch.bfloat16, {})
    assert str(second.config["_name_or_path"]) == str(folder)


def test_files_in_the_right_type_are_not_kept_twice(flux: Path, kept: Path) -> None:
    ConvertedWeights(kept).load(FluxTransformer2DModel, flux / "transformer", torch.float32, {})
    assert not kept.exists()


def test_changed_files_are_converted_anew(flux: Path, kept: Path) -> None:
    source, weights = flux / "transformer", ConvertedWeights(kept)
    weights.load(FluxTransformer2DModel, source, torch.bfloat16, {})
    for file in source.glob("*.safetensors"):
        os.utime(file, (1.0, 1.0))
    weights.load(FluxTransformer2DModel, source, torch.bfloat16, {})
    assert len(list(kept.iterdir())) == 2


def test_a_place_that_cannot_be_written_costs_no_more_than_time(
    flux: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    occupied = tmp_path / "a file"
    occupied.write_text("")
    model = ConvertedWeights(occupied).load(FluxTransformer2DModel, flux / "transformer", torch.bfloat16, {})
    assert model.dtype == torch.bfloat16
    assert "cannot be kept" in caplog.text


@contextmanager
def short_files(size: int) -> Iterator[None]:
    """Have the system refuse to write any file beyond `size` bytes, as a full disk does."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


def test_a_full_disk_costs_no_more_than_time_and_nothing_is_left_on_it(
    flux: Path, kept: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with short_files(8192):
        model = ConvertedWeights(kept).load(FluxTransformer2DModel, flux / "transformer", torch.bfloat16, {})

    assert model.dtype == torch.bfloat16
    assert "were not kept" in caplog.text
    assert not list(kept.iterdir())


@PARTS
@pytest.mark.parametrize("size", [0, 6, 100, 5000])
def test_what_is_kept_and_damaged_is_made_anew(
    flux: Path, kept: Path, caplog: pytest.LogCaptureFixture, kind: Any, name: str, size: int
) -> None:
    weights, source = ConvertedWeights(kept), flux / name
    weights.load(kind, source, torch.bfloat16, {})
    [file] = kept.rglob("*.safetensors")
    os.truncate(file, size)

    assert_same(weights.load(kind, source, torch.bfloat16, {}), read(kind, source, torch.bfloat16, {}))
    assert str(file.parent) in caplog.text
    assert_same(read(kind, file.parent, torch.bfloat16, {}), read(kind, source, torch.bfloat16, {}))


def test_what_a_killed_process_left_is_removed_and_what_is_being_written_is_not(flux: Path, kept: Path) -> None:
    left, written = kept / ".unfinished-left", kept / ".unfinished-written"
    for each in (left, written):
        each.mkdir(parents=True)
    os.utime(left, (1.0, 1.0))
    ConvertedWeights(kept).load(FluxTransformer2DModel, flux / "transformer", torch.bfloat16, {})

    assert (left.exists(), written.exists()) == (False, True)


@pytest.mark.parametrize("text", [b"version https://git-lfs.github.com/spec/v1\n", b"<!DOCTYPE html>", b"\xff" * 16])
def test_a_text_in_the_place_of_weights_is_no_lack_of_memory(flux: Path, tmp_path: Path, text: bytes) -> None:
    source = Path(shutil.copytree(flux / "transformer", tmp_path / "cloned"))
    next(source.glob("*.safetensors")).write_bytes(text)

    with pytest.raises(ValueError, match="no whole safetensors file"):
        ConvertedWeights(tmp_path / "kept").load(FluxTransformer2DModel, source, torch.bfloat16, {})


@PARTS
def test_weights_that_are_missing_are_not_made_up(flux: Path, tmp_path: Path, kind: Any, name: str) -> None:
    source = Path(shutil.copytree(flux / name, tmp_path / name))
    [file] = source.glob("*.safetensors")
    weights = load_file(file)
    missing = min(weights)
    file.unlink()  # the loaded weights are mapped from it
    save_file({key: each for key, each in weights.items() if key != missing}, file, metadata={"format": "pt"})

    with pytest.raises(ValueError, match=f"lacks weights of a {kind.__name__}: {missing}"):
        read(kind, source, torch.float32, {})
