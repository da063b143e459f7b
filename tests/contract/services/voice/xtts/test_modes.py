"""All device modes say the same. `cpu:0` plays a GPU whose operations work, or do not, as the probes report."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from servekit.errors import EngineFailure, ModelUnavailable
from servekit.worker import DeviceWorker
from services.voice.domain import EngineSpec, Placement, Samples
from services.voice.engines.xtts.engine import Family, XttsEngine
from services.voice.engines.xtts.parking import Parking
from services.voice.engines.xtts.probes import OPERATIONS, Gpu, examine, probe
from tests.contract.services.voice.xtts.conftest import MODEL, Load
from tests.contract.services.voice.xtts.hearing import HUM, SAME_DB, difference_db, spoken

TEXT = "Me too."
GPU = "cpu:0"


def works(*names: str) -> Gpu:
    return Gpu(GPU, {name: "" if name in names else "no kernel image is available" for name in OPERATIONS})


MIXED = works(*(OPERATIONS.keys() - {"convolve_transposed", "spectrogram"}))
MODES = {
    "cuda": ("auto", works(*OPERATIONS)),
    "hybrid, mixed": ("auto", MIXED),
    "hybrid, parked": ("auto", works("copy")),
    "layers": ("layers", works(*OPERATIONS)),
    "cpu": ("auto", works()),
}


@pytest.fixture(scope="module")
def reference(folder: Path) -> Samples:
    """Return what is said on the CPU."""
    how: dict[str, Any] = {"device": "cpu", "dtype": "float32", "batch": 1, "threads": 1, "agreed": False}

    async def say() -> Samples:
        worker = DeviceWorker("xtts")
        await worker.start()
        family = Family(worker=worker, models_dir=folder.parent, on_placed=lambda _: None, **how)
        engine = await family.load(EngineSpec(MODEL, MODEL))
        try:
            return await spoken(engine, TEXT)
        finally:
            await engine.close()
            await worker.close()

    return asyncio.run(say())


@pytest.mark.parametrize("name", MODES)
async def test_it_says_the_same(name: str, load: Load, placements: list[Placement], reference: Samples) -> None:
    engine = await load(*MODES[name])
    assert difference_db(await spoken(engine, TEXT), reference) < SAME_DB
    assert placements[-1].mode == name.partition(",")[0]
    assert (placements[-1].plan.dtype, bool(placements[-1].plan.reason)) == ("float32", True)


async def test_a_parked_model_clones_and_speaks_again_after_its_sleep(load: Load) -> None:
    engine = await load("hybrid", works("copy"))
    before = await spoken(engine, TEXT)
    placed = engine._instrument.choir.placed
    placed.sleep()
    assert sum(each.numel() for each in placed.model.parameters()) == 0
    latents = await engine.clone(HUM)
    assert all(np.isfinite(each).all() for each in latents.values())
    placed.sleep()
    assert difference_db(await spoken(engine, TEXT), before) < SAME_DB


def test_parking_keeps_every_weight_of_every_type() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2).bfloat16())
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    parking = Parking(module, "cpu")
    assert sum(each.numel() for each in module.parameters()) == 0
    parking.wake()
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


class Breaks:
    """Lets a device fail at the n-th call of a layer, as a GPU does whose kernel cannot be launched."""

    def __init__(self, engine: XttsEngine, after: int) -> None:
        self._left = after
        layer: Any = engine._instrument.choir.placed.gpt.gpt.ln_f
        layer.register_forward_pre_hook(self)

    def __call__(self, *_: Any) -> None:
        self._left -= 1
        if self._left < 0:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")


@pytest.mark.parametrize("after", [0, 11])
async def test_a_mode_that_fails_half_way_is_replaced_and_nobody_notices(
    load: Load, placements: list[Placement], after: int, reference: Samples
) -> None:
    engine = await load(*MODES["cuda"])
    Breaks(engine, after)
    assert difference_db(await spoken(engine, TEXT), reference) < SAME_DB
    assert (placements[-1].mode, placements[-1].before) == ("cpu", "cuda")
    assert "illegal memory access" in placements[-1].plan.reason


async def test_on_the_cpu_a_failure_is_one_and_the_next_text_is_spoken(load: Load) -> None:
    engine = await load("cpu")
    breaks = Breaks(engine, 5)
    with pytest.raises(EngineFailure, match="illegal memory access"):
        await spoken(engine, TEXT)
    breaks._left = 1000
    assert len(await spoken(engine, TEXT))


async def test_a_mode_that_cannot_be_had_says_why(load: Load) -> None:
    with pytest.raises(ModelUnavailable, match="torch sees no GPU"):
        await load("cuda")
    with pytest.raises(ModelUnavailable, match=r"only in hybrid: .*convolve_transposed"):
        await load("cuda", MIXED)
    with pytest.raises(ModelUnavailable, match="lacks activate"):
        await load("layers", works("copy"))


def test_the_probes_find_what_works_and_what_does_not() -> None:
    assert set(examine("cpu").values()) == {""}
    assert all(examine("meta").values())
    assert probe("cpu", timeout_s=100) == dict.fromkeys(OPERATIONS, "")


def test_a_probe_that_does_not_answer_is_a_gpu_that_cannot_be_used() -> None:
    assert all("did not answer" in each for each in probe("cpu", timeout_s=0.01).values())
