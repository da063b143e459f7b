"""A tiny autoencoder that decodes where a tier asks for it. diffusers' pipeline with it as its `vae` is the oracle."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny

from servekit.device import weight_bytes
from servekit.errors import ModelUnavailable
from servekit.residency import Loaded
from servekit.worker import DeviceWorker
from services.imagegen.batching import Batcher
from services.imagegen.catalog import Catalog
from services.imagegen.ports import Engine
from services.imagegen.profiles import Placement, profile
from tests.contract.services.imagegen import loaders, oracle, runs
from tests.contract.services.imagegen.conftest import Build, Load
from tests.unit.services.imagegen import rows

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' schedulers
FLUX = {**rows.FLUX, "tiny_vae": {"source": "tiny_vae"}}
BASES = [
    FLUX,
    {**rows.SDXL, "tiny_vae": {"source": "tiny_vae"}},
    {**rows.SD3, "tiny_vae": {"source": "tiny_vae_16"}},
    {**rows.HIDREAM, "tiny_vae": {"source": "tiny_vae"}},
]
FAMILIES = pytest.mark.parametrize("base", BASES, ids=lambda base: base["id"])


def tiny_of(engine: Engine) -> Any:
    (tiny,) = (each for each in engine.modules if isinstance(each, AutoencoderTiny))
    return tiny


@FAMILIES
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_picture_is_the_library_s_to_the_bit(
    build: Build, load: Load, load_tiny: Load, base: dict[str, Any], dtype: str
) -> None:
    row = rows.row(base, dtype=dtype)
    pipeline = load(row)
    tiny = type(pipeline)(**{**pipeline.components, "vae": load_tiny(row)})
    tiny.default_sample_size = 16  # HiDream brings every picture to this area
    call: dict[str, Any] = {} if base["family"] == "sdxl" else {"max_sequence_length": 16}
    expected = oracle.picture(tiny, width=32, height=32, num_inference_steps=3, guidance_scale=1.0, **call)
    engine = build(base, dtype=dtype)

    small, full = (runs.alone(engine, runs.job(guidance=1.0, decoder=each)).pixels for each in ("tiny", "full"))

    assert runs.apart(small, expected) == 0
    assert runs.apart(small, full) > 2


@pytest.mark.parametrize("masked", [True, False])
def test_a_picture_to_start_from_is_read_by_the_full_one(build: Build, masked: bool) -> None:
    engine = build(FLUX)
    states: list[Any] = [
        engine.prepare(runs.job(steps=4, source=oracle.source(0.6, masked=masked), decoder=each))
        for each in ("tiny", "full")
    ]
    while states[0].done < states[0].total:
        engine.step(states, runs.ignore)

    assert np.array_equal(states[0].latents.numpy(), states[1].latents.numpy())
    assert runs.apart(*(engine.finish(each).pixels for each in states)) > 2


def test_one_that_is_made_for_other_latents_is_refused(fresh: Build) -> None:
    with pytest.raises(ModelUnavailable, match="tiny_vae reads latents of 16 channels, 2 pixels a side each"):
        fresh(rows.FLUX, tiny_vae={"source": "tiny_vae_16"})


def test_previews_are_decoded_by_it(fresh: Build) -> None:
    engine, heard = fresh(FLUX), list[str]()
    tiny_of(engine).decoder.register_forward_hook(lambda *_: heard.append("tiny"))
    state = engine.prepare(runs.job(preview_every=1))
    engine.step([state], runs.ignore)

    assert engine.preview(state) is not None
    assert heard == ["tiny"]


def test_what_is_not_finite_is_noticed_and_decoded_again_in_32_bits_by_the_same_one(fresh: Build) -> None:
    engine = fresh(FLUX, dtype="bfloat16")
    tiny = tiny_of(engine)
    with torch.no_grad():
        tiny.decoder.layers[-1].bias.fill_(float("nan"))
    state = engine.prepare(runs.job(decoder="tiny"))
    while state.done < state.total:
        engine.step([state], runs.ignore)

    broken, again = engine.finish(state), engine.finish(state, fp32=True)

    assert (broken.finite, broken.can_decode_fp32) == (False, True)
    assert (again.finite, again.can_decode_fp32) == (False, False)
    assert tiny.dtype == torch.bfloat16


async def load_model(
    models_dir: Path, worker: DeviceWorker, placement: Placement = "whole", **changes: Any
) -> Loaded[Batcher]:
    row = rows.row(FLUX, dtype="bfloat16", **changes)
    changed = replace(profile(row, loaders.PLAN, host_bytes=0, compiled=False), placement=placement)
    return await loaders.load(Catalog([row]), {row.id: changed}, models_dir, worker)


async def test_it_is_loaded_arranged_and_counted_with_the_rest(models_dir: Path, worker: DeviceWorker) -> None:
    loaded, without = await load_model(models_dir, worker), await load_model(models_dir, worker, tiny_vae=None)
    tiny = tiny_of(loaded.value.engine)

    assert {str(each.dtype) for each in tiny.parameters()} == {"torch.bfloat16"}
    assert tiny.decoder.layers[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert loaded.bytes == without.bytes + weight_bytes([tiny])


async def test_it_stays_on_the_device_when_the_rest_is_offloaded(models_dir: Path, worker: DeviceWorker) -> None:
    usual = (await load_model(models_dir, worker)).value
    offloaded = (await load_model(models_dir, worker, "offloaded")).value
    pictures = [(await each.make(runs.job(decoder="tiny"))).decoded.pixels for each in (usual, offloaded)]

    assert len(offloaded.engine.modules) == 2
    assert tiny_of(offloaded.engine).dtype == torch.bfloat16
    assert runs.apart(*pictures) == 0


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({}, "tiny_flux.tiny_vae: no weights in other below the models folder"),
        ({"config.json": "{}", "diffusion_pytorch_model.bin": "?"}, "tiny_flux.tiny_vae cannot be loaded from other"),
        ({"config.json": "{}", "diffusion_pytorch_model.safetensors": "?"}, "tiny_flux.tiny_vae cannot be loaded"),
    ],
    ids=["absent", "pickled", "broken"],
)
async def test_one_that_cannot_be_loaded_is_named(
    models_dir: Path, tmp_path: Path, worker: DeviceWorker, content: dict[str, str], told: str
) -> None:
    (tmp_path / "tiny_flux").symlink_to(models_dir / "tiny_flux")
    (tmp_path / "other").mkdir()
    for name, text in content.items():
        (tmp_path / "other" / name).write_text(text)

    with pytest.raises(ModelUnavailable, match=told):
        await load_model(tmp_path, worker, tiny_vae={"source": "other"})
