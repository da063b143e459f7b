"""Engines for residency: loads and unloads what the catalog's families make."""

import asyncio
from collections.abc import Mapping

from servekit.errors import Cancelled
from servekit.residency import Loaded, OnProgress
from servekit.worker import CancelToken
from services.voice.catalog import Catalog
from services.voice.ports import Engine, Family


class EngineLoader:
    """Loads the engines of a catalog; `families` by name."""

    def __init__(self, catalog: Catalog, families: Mapping[str, Family]) -> None:
        self._catalog = catalog
        self._families = families

    async def load(self, model_id: str, on_progress: OnProgress, token: CancelToken) -> Loaded[Engine]:
        """Load an engine. Raises `Cancelled` when the token is cancelled, and what the family raises."""
        row = self._catalog.get(model_id)
        task = asyncio.create_task(self._families[row.family].load(row.spec))
        loop = asyncio.get_running_loop()

        def stop() -> None:
            loop.call_soon_threadsafe(task.cancel)

        forget = token.on_cancel(stop)
        try:
            engine = await task
        except asyncio.CancelledError:
            if token.cancelled:
                raise Cancelled from None
            raise
        finally:
            forget()
        return Loaded(engine, engine.resident_bytes)

    async def unload(self, value: Engine) -> None:
        """Close an engine."""
        await value.close()
