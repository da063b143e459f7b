"""Profiles, carried out by the production loader on tiny pipelines. Offloading is to the CPU's own memory here."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from servekit.residency import Loaded
from servekit.worker import DeviceWorker
from services.imagegen.batching import Batcher
from services.imagegen.catalog import AdapterRow, Catalog
from services.imagegen.domain import AdapterChoice, Pixels
from services.imagegen.profiles import profile
from tests.contract.services.imagegen import loaders, runs
from tests.unit.services.imagegen import rows

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' schedulers
FAMILIES = pytest.mark.parametrize(
    "base",
    [rows.FLUX, rows.REFINED, rows.SD3, rows.HIDREAM, rows.Z_IMAGE, rows.FLUX2_KLEIN],
    ids=lambda base: base["id"],
)
ADAPTED = pytest.mark.parametrize("base", [rows.FLUX, rows.SDXL, rows.SD3, rows.HIDREAM], ids=lambda base: base["id"])
COMPILER = pytest.mark.filterwarnings(
    "ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"
)  # torch's own
FLOAT8 = torch.float8_e4m3fn


class Bench:
    """Loads tiny pipelines with a changed profile."""

    def __init__(self, models_dir: Path, worker: DeviceWorker) -> None:
        self._models_dir = models_dir
        self._worker = worker

    async def load(self, base: dict[str, Any], **changes: Any) -> Loaded[Batcher]:
        row = rows.row(base, dtype="bfloat16")
        usual = replace(profile(row, loaders.PLAN, host_bytes=0, compiled=False), channels_last=False)
        lora = AdapterRow(id=f"{row.id}_lora", base=row.id, source=f"{row.id}_lora", license="MIT")
        catalog = Catalog([row], [lora])
        return await loaders.load(catalog, {row.id: replace(usual, **changes)}, self._models_dir, self._worker)

    async def picture(self, base: dict[str, Any], *, adapted: bool = False, **changes: Any) -> Pixels:
        return await picture(await self.load(base, **changes), base, adapted=adapted)


@pytest.fixture
def bench(models_dir: Path, worker: DeviceWorker) -> Bench:
    return Bench(models_dir, worker)


async def picture(loaded: Loaded[Batcher], base: dict[str, Any], *, adapted: bool = False) -> Pixels:
    adapters = (AdapterChoice(f"{base['id']}_lora"),) if adapted else ()
    made = await loaded.value.make(runs.job(refine="refiner" in base, adapters=adapters))
    assert made.decoded.finite
    return made.decoded.pixels


def networks(loaded: Loaded[Batcher]) -> list[torch.nn.Module]:
    """Return the denoising networks."""
    return [each for each in loaded.value.engine.modules if "2D" in type(each).__name__]


@FAMILIES
async def test_networks_in_8_bits_take_half_the_bytes_and_paint_nearly_the_same(
    bench: Bench, base: dict[str, Any]
) -> None:
    usual, small = await bench.load(base), await bench.load(base, placement="float8")
    linear = [
        each.weight for network in networks(small) for each in network.modules() if isinstance(each, torch.nn.Linear)
    ]
    expected, got = await picture(usual, base), await picture(small, base)

    assert FLOAT8 in {each.dtype for each in linear}
    assert small.bytes < usual.bytes - 0.9 * sum(each.nbytes for each in linear if each.dtype == FLOAT8)
    assert 0 < abs(expected.astype(int) - got.astype(int)).mean() < 8


@ADAPTED
async def test_adapters_go_with_networks_in_8_bits(bench: Bench, base: dict[str, Any]) -> None:
    small = await bench.load(base, placement="float8")
    plain, worn = await picture(small, base), await picture(small, base, adapted=True)
    in_full = await bench.picture(base, adapted=True)
    added = [each for name, each in networks(small)[0].named_parameters() if "lora" in name]

    assert {each.dtype for each in added} <= {torch.bfloat16, torch.float32}
    assert abs(worn.astype(int) - in_full.astype(int)).mean() < abs(worn.astype(int) - plain.astype(int)).mean()


@FAMILIES
async def test_offloaded_weights_paint_the_same_and_only_autoencoders_count(bench: Bench, base: dict[str, Any]) -> None:
    usual, offloaded = await bench.load(base), await bench.load(base, placement="offloaded")

    assert runs.apart(await picture(usual, base), await picture(offloaded, base)) == 0
    assert offloaded.bytes == sum(each.nbytes for each in offloaded.value.engine.modules[0].state_dict().values())
    assert [type(each).__name__.startswith("AutoencoderKL") for each in offloaded.value.engine.modules] == [True]


@ADAPTED
async def test_adapters_go_with_offloaded_weights(bench: Bench, base: dict[str, Any]) -> None:
    expected = await bench.picture(base, adapted=True)

    assert runs.apart(await bench.picture(base, adapted=True, placement="offloaded"), expected) == 0


async def test_convolutions_are_laid_out_channels_last(bench: Bench) -> None:
    usual, arranged = await bench.load(rows.REFINED), await bench.load(rows.REFINED, channels_last=True)
    kernels = [
        each.weight
        for module in arranged.value.engine.modules
        for each in module.modules()
        if isinstance(each, torch.nn.Conv2d) and each.kernel_size == (3, 3)
    ]

    assert kernels and all(each.is_contiguous(memory_format=torch.channels_last) for each in kernels)
    assert runs.apart(await picture(usual, rows.REFINED), await picture(arranged, rows.REFINED)) <= 8


@COMPILER
@FAMILIES
async def test_the_repeated_blocks_of_every_family_can_be_compiled(bench: Bench, base: dict[str, Any]) -> None:
    arranged = networks(await bench.load(base, compiled=True))
    blocks = [each for network in arranged for each in network.modules() if each._compiled_call_impl is not None]

    assert blocks
    assert all(type(each).__name__.endswith("Block") for each in blocks)


@COMPILER
@pytest.mark.timeout(300)  # a C++ compiler is at work
async def test_compiled_blocks_paint_the_same(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "torch._inductor.config.compile_threads", 1
    )  # processes to share the work with take long to start

    assert runs.apart(await bench.picture(rows.SD3), await bench.picture(rows.SD3, compiled=True)) <= 8
