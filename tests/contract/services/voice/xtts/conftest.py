from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from recipes.random_xtts import TINY, save
from servekit.worker import DeviceWorker
from services.voice.domain import EngineSpec, Placement
from services.voice.engines.xtts.engine import Family, XttsEngine
from services.voice.engines.xtts.probes import Gpu

MODEL = "tiny_xtts"

Load = Callable[..., Awaitable[XttsEngine]]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Keep tiny tensors on one thread: handing them around costs more than it saves."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny checkpoint in XTTS's own format, in a folder of models."""
    return save(tmp_path_factory.mktemp("models") / MODEL, **TINY)


@pytest.fixture
def spec() -> EngineSpec:
    return EngineSpec(MODEL, MODEL)


@pytest.fixture
def placements() -> list[Placement]:
    """Where engines have run in this test."""
    return []


@pytest.fixture
async def worker() -> AsyncIterator[DeviceWorker]:
    """The device thread of the engines."""
    worker = DeviceWorker("xtts")
    await worker.start()
    yield worker
    await worker.close()


@pytest.fixture
def family(folder: Path, placements: list[Placement], worker: DeviceWorker) -> Callable[..., Family]:
    def make(device: str = "auto", gpu: Gpu | None = None, **changes: Any) -> Family:
        how: dict[str, Any] = {"dtype": "float32", "batch": 4, "threads": 1, "agreed": False}
        places = {"models_dir": folder.parent, "on_placed": placements.append, "find_gpu": lambda: gpu or Gpu()}
        return Family(worker=worker, device=device, **(how | places | changes))

    return make


@pytest.fixture
async def load(family: Callable[..., Family], spec: EngineSpec) -> AsyncIterator[Load]:
    """Load engines, which are closed after the test; arguments as those of `family`."""
    loaded: list[XttsEngine] = []

    async def engine(*how: Any, **changes: Any) -> XttsEngine:
        loaded.append(await family(*how, **changes).load(spec))
        return loaded[-1]

    yield engine
    for each in loaded:
        await each.close()
