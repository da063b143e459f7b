"""Brings the catalog's models to the device for `servekit.residency`."""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from servekit import garbage
from servekit.device import DevicePlan, out_of_memory_as, release_unused, require_bytes, synchronize
from servekit.errors import DeviceOutOfMemory
from servekit.residency import Loaded, OnProgress
from servekit.worker import CancelToken, DeviceWorker
from services.imagegen.batching import Batcher, OnBatch
from services.imagegen.catalog import Catalog, ModelRow
from services.imagegen.engines import registry
from services.imagegen.engines.folders import Folders, Places
from services.imagegen.engines.parts import Parts
from services.imagegen.engines.weights import WeightStore
from services.imagegen.places import Refiner, Weights
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
        if self._profiles[model_id].placement == "gguf":
            row = row.with_gguf()
        places = await self._fetch(row, lambda share: on_progress(share * FETCH_SHARE), token)
        share = 1.0 if row.source else FETCH_SHARE

        def on_loaded(done: float) -> None:
            on_progress(1 - share + done * share)

        try:
            engine = await self._worker.submit(lambda _: self._steps(row, places, on_loaded), token)
        except BaseException:
            await self._worker.run(lambda _: release_unused(self._plan))
            raise
        batcher = Batcher(
            engine,
            self._worker,
            guard=partial(self._guard, model_id),
            synchronize=partial(synchronize, self._plan.device),
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

    def _steps(self, row: ModelRow, places: Places, on_progress: OnProgress) -> Generator[None, None, Engine]:
        from services.imagegen.engines.arranging import Arrangement
        from services.imagegen.engines.converted import ConvertedWeights, read
        from services.imagegen.engines.loading import load_pipeline, load_tiny_vae

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
        share = 1.0 if places.refiner is None else 1 - REFINER_SHARE
        require_bytes(self._plan, profile.bytes)
        with out_of_memory_as(self._plan, profile.bytes):
            base = yield from load(places.base, on_progress=lambda done: on_progress(done * share))
            refining = None
            if places.refiner is not None:
                shared = {name: getattr(base, name) for name in Refiner.SHARED}
                refining = yield from load(
                    places.refiner, on_progress=lambda done: on_progress(share + done * REFINER_SHARE), shared=shared
                )
            arrangement.pipelines(base, refining)
            tiny_vae = None
            if places.tiny_vae is not None:
                tiny_vae = load_tiny_vae(places.tiny_vae, profile.dtype, reader)
                arrangement.tiny_vae(tiny_vae)
            adapter_path = self._store.adapter_path(self._catalog)
            offloaded = profile.placement == "offloaded"
            engine = registry.build(Parts(row, base, adapter_path, self._max_batch, refining, tiny_vae, offloaded))
        garbage.set_aside()
        return engine

    async def _fetch(self, row: ModelRow, on_progress: OnProgress, token: CancelToken) -> Places:
        async def beside(part: str, weights: Weights | None) -> Folders | None:
            if weights is None:
                return None
            name = f"{row.id}.{part}"
            return Folders(name, weights.place, await self._store.fetch(name, weights, on_progress, token), {})

        root = await self._store.fetch(row.id, row, on_progress, token)
        parts = {
            name: (part, await self._store.fetch(f"{row.id}.{name}", part, on_progress, token))
            for name, part in row.components.items()
        }
        gguf = None
        if row.gguf is not None and row.gguf.always:
            gguf = await self._store.fetch(f"{row.id}.gguf", row.gguf, on_progress, token) / row.gguf.file
        base = Folders(row.id, row.place, root, parts, row.without, gguf)
        return Places(base, await beside("refiner", row.refiner), await beside("tiny_vae", row.tiny_vae))
