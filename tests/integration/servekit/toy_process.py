"""A toy in a process of its own. `hangs`, `fails` and `misbuilt` say how its start goes.

It tells of its stop in the log.
"""

import asyncio
import logging
import sys

from servekit.app import App, launch
from servekit.errors import ModelUnavailable
from servekit.metrics import new_registry
from servekit.settings import ServerSettings
from servekit.testing import Toy

logger = logging.getLogger("toy")


async def _start() -> None:
    if "fails" in sys.argv:
        raise ModelUnavailable("no weights at /nowhere; set ATELIER_WEIGHTS")
    if "hangs" in sys.argv:
        await asyncio.get_running_loop().create_future()


async def _stop() -> None:
    logger.info("stopped")


def _build(settings: ServerSettings) -> App:
    if "misbuilt" in sys.argv:
        raise ValueError("catalog.toml: row 1: id\ncatalog.toml: row 2: bytes")
    return App(settings, Toy().register, registry=new_registry("toy", "1"), start=_start, stop=_stop)


if __name__ == "__main__":
    launch(ServerSettings, _build)
