from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from services.imagegen.catalog import Dtype, ModelRow
from services.imagegen.engines import registry
from services.imagegen.engines.loading import load_pipeline
from services.imagegen.ports import Engine
from tests.contract.services.imagegen import tiny
from tests.unit.services.imagegen import rows

Load = Callable[..., Any]
Build = Callable[..., Engine]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Keep tiny tensors on one thread: handing them around costs more than it saves."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny pipeline of each family and a LoRA adapter."""
    folder = tmp_path_factory.mktemp("models")
    tiny.save_flux(folder / "tiny_flux")
    tiny.save_sdxl(folder / "tiny_sdxl")
    tiny.save_sd3(folder / "tiny_sd3")
    tiny.save_lora(folder / "tiny_flux", folder / "tiny_lora")
    return folder


@pytest.fixture(scope="session")
def load(models_dir: Path) -> Load:
    """Load a row's pipeline as the service does."""

    def run(row: ModelRow) -> Any:
        dtype: Dtype = "float32" if row.dtype == "auto" else row.dtype
        steps = load_pipeline(
            row, models_dir / row.source, {}, device="cpu", dtype_name=dtype, on_progress=lambda _: None
        )
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value

    return run


@pytest.fixture(scope="session")
def fresh(load: Load, models_dir: Path) -> Build:
    """Return an engine over a freshly loaded pipeline, which may be damaged."""

    def run(base: dict[str, Any] = rows.FLUX, **changes: Any) -> Engine:
        row = rows.row(base, **changes)
        return registry.build(row, load(row), lambda adapter_id: models_dir / adapter_id, 8)

    return run


@pytest.fixture(scope="session")
def build(fresh: Build) -> Build:
    """Return an engine that tests share."""
    engines: dict[str, Engine] = {}

    def run(base: dict[str, Any] = rows.FLUX, **changes: Any) -> Engine:
        key = f"{base['id']} {sorted(changes.items())}"
        if key not in engines:
            engines[key] = fresh(base, **changes)
        return engines[key]

    return run
