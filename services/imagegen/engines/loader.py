"""Brings the catalog's models to the device for `servekit.residency`."""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from servekit.device import DevicePlan, out_of_memory_as, release_unused, require_bytes
from servekit.errors import DeviceOutOfMemory
from servekit.residency import Loaded, OnProgress
from servekit.worker import CancelToken, DeviceWorker
from services.imagegen.batching import Batcher, OnBatch
from services.imagegen.catalog import Catalog, ModelRow, Refiner
from services.imagegen.engines import registry
from services.imagegen.engines.folders import Folders
from services.imagegen.engines.parts import Parts
from services.imagegen.engines.weights import WeightStore
from services.imagegen.ports import Engine
from services.imagegen.profiles import Profile

FETCH_SHARE = 0.5
"""Share of the progress that a download takes."""
REFINER_SHARE = 0.4
"""Share of the progress that a refiner takes."""


class EngineLoader:
    """`residency.Loader` of batchers, each loaded as its profile says.

    What `step_observer(model_id)` returns hears of every step, `on_out_of_memory(model_id)` of work without room; both
    are called on the device thread. Converted weights are kept in `converted_dir`, if there is one.
    """

    def __init__(
        self,
        catalog: Catalog,
        store: WeightStore,
        plan: DevicePlan,
        profiles: Mapping[str, Profile],
        worker: DeviceWorker,
        *,
        max_batch: int,
        converted_dir: Path | None,
        allow_pickle: bool = False,
        step_observer: Callable[[str], OnBatch],
        on_out_of_memory: Callable[[str], None],
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._plan = plan
        self._profiles = profiles
        self._worker = worker
        self._max_batch = max_batch
        self._converted_dir = converted_dir
        self._allow_pickle = allow_pickle
        self._step_observer = step_observer
        self._on_out_of_memory = on_out_of_memory

    async def load(self, model_id: str, on_progress: OnProgress, token: CancelToken) -> Loaded[Batcher]:
        """Fetch what is missing, then load it on the device thread, a component a turn."""
        row = self._catalog.get(model_id)
        folders, refiner = await self._fetch(row, lambda share: on_progress(share * FETCH_SHARE), token)
        share = 1.0 if row.source else FETCH_SHARE

        def on_loaded(done: float) -> None:
            on_progress(1 - share + done * share)

        try:
            engine = await self._worker.submit(lambda _: self._steps(row, folders, refiner, on_loaded), token)
        except BaseException:
            await self._worker.run(lambda _: release_unused(self._plan))
            raise
        batcher = Batcher(
            engine,
            self._worker,
            guard=partial(self._guard, model_id),
            on_batch=self._step_observer(model_id),
        )
        return Loaded(batcher, engine.resident_bytes)

    async def unload(self, value: Batcher) -> None:
        """Give up the model; returns when its bytes are free."""
        del value  # the only reference
        await self._worker.run(lambda _: release_unused(self._plan))

    @contextmanager
    def _guard(self, model_id: str) -> Iterator[None]:
        try:
            with out_of_memory_as(self._plan):
                yield
        except DeviceOutOfMemory:
            self._on_out_of_memory(model_id)
            raise

    def _steps(
        self, row: ModelRow, folders: Folders, refiner: Folders | None, on_progress: OnProgress
    ) -> Generator[None, None, Engine]:
        from services.imagegen.engines.arranging import Arrangement
        from services.imagegen.engines.converted import ConvertedWeights, read
        from services.imagegen.engines.loading import load_pipeline

        profile = self._profiles[row.id]
        arrangement = Arrangement(profile, self._plan.device)
        reader = read if self._converted_dir is None else ConvertedWeights(self._converted_dir).load
        load = partial(
            load_pipeline,
            device=arrangement.loaded_to,
            dtype_name=profile.dtype,
            reader=reader,
            arrange=arrangement.component,
            allow_pickle=self._allow_pickle,
        )
        share = 1.0 if refiner is None else 1 - REFINER_SHARE
        require_bytes(self._plan, profile.bytes)
        with out_of_memory_as(self._plan, profile.bytes):
            base = yield from load(folders, on_progress=lambda done: on_progress(done * share))
            refining = None
            if refiner is not None:
                shared = {name: getattr(base, name) for name in Refiner.SHARED}
                refining = yield from load(
                    refiner, on_progress=lambda done: on_progress(share + done * REFINER_SHARE), shared=shared
                )
            arrangement.pipelines(base, refining)
            adapter_path = self._store.adapter_path(self._catalog)
            offloaded = profile.placement == "offloaded"
            return registry.build(Parts(row, base, adapter_path, self._max_batch, refining, offloaded))

    async def _fetch(
        self, row: ModelRow, on_progress: OnProgress, token: CancelToken
    ) -> tuple[Folders, Folders | None]:
        root = await self._store.fetch(row.id, row, on_progress, token)
        parts = {
            name: (part, await self._store.fetch(f"{row.id}.{name}", part, on_progress, token))
            for name, part in row.components.items()
        }
        folders = Folders(row.id, row.place, root, parts, row.without)
        if row.refiner is None:
            return folders, None
        name = f"{row.id}.refiner"
        refining = await self._store.fetch(name, row.refiner, on_progress, token)
        return folders, Folders(name, row.refiner.place, refining, {})
