"""The production loader over the tests' folder of models, on a CPU."""

from collections.abc import Callable, Mapping
from pathlib import Path

from servekit.device import plan_device
from servekit.residency import Loaded
from servekit.worker import CancelToken, DeviceWorker
from services.imagegen.batching import Batcher
from services.imagegen.catalog import Catalog
from services.imagegen.engines.loader import EngineLoader
from services.imagegen.engines.weights import WeightStore
from services.imagegen.profiles import Profile

PLAN = plan_device("cpu", dtype="bfloat16", threads=1)


async def load(
    catalog: Catalog,
    profiles: Mapping[str, Profile],
    models_dir: Path,
    worker: DeviceWorker,
    on_progress: Callable[[float], None] = lambda _fraction: None,
) -> Loaded[Batcher]:
    """Load the first model of a catalog."""
    loader = EngineLoader(
        catalog,
        WeightStore(models_dir, token=None, download=False),
        PLAN,
        profiles,
        worker,
        max_batch=4,
        converted_dir=None,
        step_observer=lambda _model: lambda _width, _seconds: None,
        on_out_of_memory=lambda _model: None,
    )
    return await loader.load(next(iter(catalog.models)), on_progress, CancelToken())
