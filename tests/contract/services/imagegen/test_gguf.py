"""Denoising networks from GGUF files, written by llama.cpp's own package and read by the production loader."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import gguf
import pytest
import torch

from servekit.errors import ModelUnavailable
from servekit.residency import Loaded
from servekit.worker import DeviceWorker
from services.imagegen.batching import Batcher
from services.imagegen.catalog import AdapterRow, Catalog
from services.imagegen.domain import AdapterChoice, Pixels
from services.imagegen.profiles import profile
from tests.contract.services.imagegen import loaders, runs
from tests.unit.services.imagegen import rows

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' schedulers
NETWORKS = {
    "tiny_flux": "FluxTransformer2DModel",
    "tiny_sd3": "SD3Transformer2DModel",
    "tiny_hidream": "HiDreamImageTransformer2DModel",
}
FAMILIES = pytest.mark.parametrize("base", [rows.FLUX, rows.SD3, rows.HIDREAM], ids=lambda base: base["id"])
Q8, Q4 = gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_0


class Bench:
    """Loads tiny pipelines with their network from a GGUF file, or as they are."""

    def __init__(self, models_dir: Path, files: Path, worker: DeviceWorker) -> None:
        self._models_dir = models_dir
        self._files = files
        self._worker = worker

    def convert(self, base: dict[str, Any], bits: gguf.GGMLQuantizationType) -> None:
        """Write a pipeline's network as a GGUF file, its matrices quantised."""
        folder = self._models_dir / base["source"] / "transformer"
        network = getattr(diffusers, NETWORKS[base["id"]]).from_pretrained(folder)
        matrices = {f"{name}.weight" for name, each in network.named_modules() if isinstance(each, torch.nn.Linear)}
        writer = gguf.GGUFWriter(self._files / f"{base['id']}.gguf", "tiny")
        for name, weight in network.state_dict().items():
            array = weight.float().numpy()
            if name in matrices and array.shape[-1] % 32 == 0:
                writer.add_tensor(name, gguf.quantize(array, bits), raw_dtype=bits)
            else:
                writer.add_tensor(name, array)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    async def load(self, base: dict[str, Any], *, file: str = "") -> Loaded[Batcher]:
        small = {"source": str(self._files), "file": file, "bytes": 500_000, "always": True}
        row = rows.row(base, dtype="bfloat16", **({"gguf": small} if file else {}))
        found = replace(profile(row, loaders.PLAN, host_bytes=0, compiled=False), channels_last=False)
        lora = AdapterRow(id=f"{row.id}_lora", base=row.id, source=f"{row.id}_lora", license="MIT")
        return await loaders.load(Catalog([row], [lora]), {row.id: found}, self._models_dir, self._worker)


@pytest.fixture
def bench(models_dir: Path, tmp_path: Path, worker: DeviceWorker) -> Bench:
    return Bench(models_dir, tmp_path, worker)


async def picture(loaded: Loaded[Batcher], *adapters: str) -> Pixels:
    made = await loaded.value.make(runs.job(adapters=tuple(AdapterChoice(each) for each in adapters)))
    assert made.decoded.finite
    return made.decoded.pixels


def apart(left: Pixels, right: Pixels) -> float:
    return float(abs(left.astype(int) - right.astype(int)).mean())


@FAMILIES
async def test_a_network_of_8_bits_takes_less_room_and_paints_nearly_the_same(
    bench: Bench, base: dict[str, Any]
) -> None:
    bench.convert(base, Q8)
    usual, small = await bench.load(base), await bench.load(base, file=f"{base['id']}.gguf")

    assert small.bytes < usual.bytes
    assert 0 < apart(await picture(usual), await picture(small)) < 8


async def test_a_network_of_4_bits_takes_less_room_still(bench: Bench) -> None:
    bench.convert(rows.FLUX, Q8)
    of_8 = await bench.load(rows.FLUX, file="tiny_flux.gguf")
    bench.convert(rows.FLUX, Q4)
    of_4 = await bench.load(rows.FLUX, file="tiny_flux.gguf")

    assert of_4.bytes < of_8.bytes
    assert apart(await picture(of_8), await picture(of_4)) < 32


async def test_pictures_at_different_steps_share_its_passes(bench: Bench) -> None:
    bench.convert(rows.FLUX, Q8)
    loaded = await bench.load(rows.FLUX, file="tiny_flux.gguf")
    alone = await picture(loaded)

    together, _ = await asyncio.gather(*(loaded.value.make(runs.job(seed=each)) for each in (runs.JOB.seed, 99)))

    assert runs.apart(alone, together.decoded.pixels) <= 8


async def test_adapters_go_with_it(bench: Bench) -> None:
    bench.convert(rows.FLUX, Q8)
    usual, small = await bench.load(rows.FLUX), await bench.load(rows.FLUX, file="tiny_flux.gguf")
    plain, worn = await picture(small), await picture(small, "tiny_flux_lora")

    assert apart(worn, await picture(usual, "tiny_flux_lora")) < apart(worn, plain)


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, r"No such file .*tiny_flux\.gguf"), (b"GGUF", "tiny_flux"), (b"\x80\x04pickled", "tiny_flux")],
    ids=["missing", "cut off", "another format"],
)
async def test_a_file_that_is_none_is_told(bench: Bench, tmp_path: Path, content: bytes | None, told: str) -> None:
    (tmp_path / "other.gguf").touch()
    if content is not None:
        (tmp_path / "tiny_flux.gguf").write_bytes(content)

    with pytest.raises(ModelUnavailable, match=told):
        await bench.load(rows.FLUX, file="tiny_flux.gguf")
