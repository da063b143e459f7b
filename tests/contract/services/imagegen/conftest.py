from collections.abc import AsyncIterator, Callable, Generator
from pathlib import Path
from typing import Any

import pytest
import torch

from servekit.worker import DeviceWorker
from services.imagegen.catalog import Dtype, ModelRow
from services.imagegen.engines import registry
from services.imagegen.engines.folders import Folders
from services.imagegen.engines.loading import load_pipeline, load_tiny_vae
from services.imagegen.engines.parts import Parts
from services.imagegen.places import Refiner
from services.imagegen.ports import Engine
from tests.contract.services.imagegen import tiny, tiny_parts, tiny_whole
from tests.unit.services.imagegen import rows

Load = Callable[..., Any]
Build = Callable[..., Engine]


def _finished(steps: Generator[None, None, Any]) -> Any:
    """Return what a generator returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


@pytest.fixture
async def worker() -> AsyncIterator[DeviceWorker]:
    """Return a device thread."""
    worker = DeviceWorker("device")
    await worker.start()
    yield worker
    await worker.close()


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Keep tiny tensors on one thread: handing them around costs more than it saves."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny pipeline of each family, LoRA adapters, and tiny autoencoders."""
    folder = tmp_path_factory.mktemp("models")
    tiny.save_flux(folder / "tiny_flux")
    tiny.save_sdxl(folder / "tiny_sdxl")
    tiny.save_refiner(folder / "tiny_refiner")
    tiny.save_sd3(folder / "tiny_sd3")
    tiny.save_hidream(folder / "tiny_hidream")
    tiny.save_llama(folder / "tiny_llama")
    tiny_whole.save_z_image(folder / "tiny_z_image")
    tiny_whole.save_flux2_klein(folder / "tiny_flux2_klein")
    tiny_whole.save_qwen_image(folder / "tiny_qwen_image")
    tiny_parts.save_tiny_vae(folder / "tiny_vae")
    tiny_parts.save_tiny_vae(folder / "tiny_vae_16", channels=16)
    for model in ("tiny_flux", "tiny_sdxl", "tiny_sd3", "tiny_hidream"):
        tiny_parts.save_lora(folder / model, folder / f"{model}_lora")
    return folder


@pytest.fixture(scope="session")
def load(models_dir: Path) -> Load:
    """Load the pipeline of a row, or its refiner over a loaded base, as the service does."""

    def run(row: ModelRow, base: Any = None) -> Any:
        dtype: Dtype = "float32" if row.dtype == "auto" else row.dtype
        options: dict[str, Any] = {"device": "cpu", "dtype_name": dtype, "on_progress": lambda _: None}
        if base is not None and row.refiner is not None:
            folders = Folders(row.id, row.refiner.place, models_dir / row.refiner.source, {})
            return _finished(
                load_pipeline(folders, shared={each: getattr(base, each) for each in Refiner.SHARED}, **options)
            )
        parts = {name: (part, models_dir / part.source) for name, part in row.components.items()}
        folders = Folders(row.id, row.place, models_dir / row.source, parts, row.without)
        return _finished(load_pipeline(folders, **options))

    return run


@pytest.fixture(scope="session")
def load_tiny(models_dir: Path) -> Load:
    """Load the tiny autoencoder of a row, as the service does."""

    def run(row: ModelRow) -> Any:
        assert row.tiny_vae is not None
        folders = Folders(f"{row.id}.tiny_vae", row.tiny_vae.place, models_dir / row.tiny_vae.source, {})
        return load_tiny_vae(folders, "float32" if row.dtype == "auto" else row.dtype)

    return run


@pytest.fixture(scope="session")
def fresh(load: Load, load_tiny: Load, models_dir: Path) -> Build:
    """Return an engine over a freshly loaded pipeline, in which one component may be spoiled by NaN."""

    def run(base: dict[str, Any] = rows.FLUX, *, spoiled: str = "", **changes: Any) -> Engine:
        row = rows.row(base, **changes)
        pipeline = load(row)
        if spoiled:
            _spoil(getattr(pipeline, spoiled))
        refiner = load(row, pipeline) if row.refiner else None
        tiny_vae = load_tiny(row) if row.tiny_vae else None
        return registry.build(Parts(row, pipeline, lambda adapter_id: models_dir / adapter_id, 8, refiner, tiny_vae))

    return run


def _spoil(component: torch.nn.Module) -> None:
    """Set weights to NaN, as an overflow would leave them."""
    with torch.no_grad():
        for parameter in component.parameters():
            parameter.view(-1)[0] = float("nan")


@pytest.fixture(scope="session")
def build(fresh: Build) -> Build:
    """Return an engine that tests share."""
    engines: dict[str, Engine] = {}

    def run(base: dict[str, Any] = rows.FLUX, **changes: Any) -> Engine:
        key = repr(sorted({**base, **changes}.items()))
        if key not in engines:
            engines[key] = fresh(base, **changes)
        return engines[key]

    return run
