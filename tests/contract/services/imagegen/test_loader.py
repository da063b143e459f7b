"""Every family, loaded as the service loads it and run through the batcher."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from servekit.residency import Loaded
from servekit.worker import DeviceWorker
from services.imagegen.batching import Batcher
from services.imagegen.catalog import Catalog
from services.imagegen.domain import Pixels
from services.imagegen.profiles import profiles
from tests.contract.services.imagegen import loaders, runs
from tests.contract.services.imagegen.conftest import Build
from tests.unit.services.imagegen import rows

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' schedulers
BASES = [rows.FLUX, rows.SDXL, rows.REFINED, rows.SD3, rows.HIDREAM, rows.Z_IMAGE, rows.FLUX2_KLEIN]
FAMILIES = pytest.mark.parametrize("base", BASES, ids=lambda base: base["id"])


async def load(
    base: dict[str, Any], models_dir: Path, worker: DeviceWorker, fractions: list[float] | None = None, **changes: Any
) -> Loaded[Batcher]:
    row = rows.row(base, **changes)
    catalog, heard = Catalog([row]), fractions if fractions is not None else []
    usual = profiles(catalog, loaders.PLAN, host_bytes=0, compiled=False)
    return await loaders.load(catalog, usual, models_dir, worker, heard.append)


@FAMILIES
async def test_the_device_s_data_type_is_taken_where_the_row_has_no_wish(
    base: dict[str, Any], models_dir: Path, worker: DeviceWorker
) -> None:
    loaded = await load(base, models_dir, worker, dtype="auto")
    weights = [each for module in loaded.value.engine.modules for each in module.parameters()]

    assert {(str(each.dtype), each.device.type) for each in weights} == {("torch.bfloat16", "cpu")}
    assert loaded.bytes == loaded.value.engine.resident_bytes >= sum(each.numel() * 2 for each in weights)


@FAMILIES
async def test_the_picture_is_that_of_the_engine_alone(
    base: dict[str, Any], models_dir: Path, worker: DeviceWorker, build: Build
) -> None:
    fractions: list[float] = []
    loaded = await load(base, models_dir, worker, fractions)
    job = runs.job(steps=6, refine="refiner" in base)

    made = await loaded.value.make(job)

    assert np.array_equal(made.decoded.pixels, runs.alone(build(base), job).pixels)
    assert (fractions, fractions[-1]) == (sorted(fractions), 1.0)


@FAMILIES
async def test_cancelling_after_any_step_stops_there_and_harms_nobody(
    base: dict[str, Any], models_dir: Path, worker: DeviceWorker
) -> None:
    batcher = (await load(base, models_dir, worker)).value
    expected = (await batcher.make(runs.job(seed=3))).decoded.pixels
    for last in (1, 2, 4):
        beside = asyncio.create_task(batcher.make(runs.job(seed=3)))

        assert await steps_until_cancelled(batcher, last) == list(range(1, last + 1))
        assert runs.apart((await beside).decoded.pixels, expected) <= 2


async def steps_until_cancelled(batcher: Batcher, last: int) -> list[int]:
    """Make a picture that is cancelled during its step `last`; return the steps that were told of."""
    loop, seen = asyncio.get_running_loop(), list[int]()

    async def cancel() -> None:
        making.cancel()
        for _ in range(3):  # turns of the loop until the picture knows
            await asyncio.sleep(0)

    def on_step(done: int, _total: int, _preview: Pixels | None) -> None:
        seen.append(done)
        if done == last:
            asyncio.run_coroutine_threadsafe(cancel(), loop).result()

    making = asyncio.create_task(batcher.make(runs.job(steps=5), on_step=on_step))
    with pytest.raises(asyncio.CancelledError):
        await making
    return seen
