"""Adapters that cannot be loaded harm nobody, themselves included."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

from servekit.errors import ModelUnavailable
from services.imagegen.domain import AdapterChoice, Job, Pixels
from services.imagegen.ports import Engine
from tests.contract.services.imagegen import runs
from tests.contract.services.imagegen.conftest import Build
from tests.unit.services.imagegen import rows

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning",  # diffusers' schedulers
    "ignore:Already found a `peft_config`:UserWarning",  # of a second adapter
    "ignore:Adapter misfit was active which is now deleted:UserWarning",
)
FILE = "pytorch_lora_weights.safetensors"
LORA = "tiny_sdxl_lora"


@pytest.fixture
def engine(fresh: Build) -> Engine:
    return fresh(rows.SDXL)


@pytest.fixture
def misfit(models_dir: Path) -> str:
    """Return the id of an adapter that fits the network and, being for a wider one, not the text encoder."""
    state = load_file(models_dir / LORA / FILE)
    projection = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj"
    state |= {f"{projection}.lora_A.weight": torch.ones(4, 768), f"{projection}.lora_B.weight": torch.ones(768, 4)}
    folder = models_dir / "misfit"
    folder.mkdir(exist_ok=True)
    save_file(state, folder / FILE)
    return folder.name


def wearing(*adapters: str) -> Job:
    return runs.job(adapters=tuple(map(AdapterChoice, adapters)))


def picture(engine: Engine, *adapters: str) -> Pixels:
    return runs.alone(engine, wearing(*adapters)).pixels


@pytest.mark.parametrize("before", [(), (LORA,)], ids=["first", "after another"])
def test_an_adapter_that_fits_only_in_part_leaves_nothing_of_itself(
    engine: Engine, misfit: str, before: tuple[str, ...]
) -> None:
    plain, usual = picture(engine), picture(engine, *before)

    for _ in range(2):
        with pytest.raises(ModelUnavailable, match="mismatched_sizes"):
            engine.prepare(wearing(misfit))

    assert runs.apart(picture(engine), plain) == 0
    assert runs.apart(picture(engine, *before), usual) == 0


def test_an_adapter_that_memory_did_not_suffice_for_can_be_asked_for_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = picture(engine)
    with monkeypatch.context() as patch, pytest.raises(torch.OutOfMemoryError):
        patch.setattr(StableDiffusionXLPipeline, "load_lora_into_text_encoder", exhausted)
        engine.prepare(wearing(LORA))

    assert runs.apart(picture(engine), plain) == 0
    assert runs.apart(picture(engine, LORA), plain) > 0


def exhausted(*_: Any, **__: Any) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_what_went_wrong_first_is_told_even_if_more_goes_wrong(
    engine: Engine, misfit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StableDiffusionXLPipeline, "delete_adapters", exhausted)

    with pytest.raises(ModelUnavailable, match="mismatched_sizes"):
        engine.prepare(wearing(misfit))


def test_adapters_with_ids_almost_alike_are_two(engine: Engine, models_dir: Path) -> None:
    for name in ("lora_1.0", "lora_1_0"):
        shutil.copytree(models_dir / LORA, models_dir / name, dirs_exist_ok=True)

    assert runs.apart(picture(engine, "lora_1.0"), picture(engine, "lora_1.0", "lora_1_0")) > 0
