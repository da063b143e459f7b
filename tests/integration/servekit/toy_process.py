"""A toy in a process of its own. `hangs`, `fails` and `misbuilt` say how its start goes.

It tells of its stop in the log. With `stuck` its device does not come back from the first message.
"""

import asyncio
import logging
import sys
import threading

from servekit.app import App, launch
from servekit.errors import ModelUnavailable
from servekit.metrics import new_registry
from servekit.settings import ServerSettings
from servekit.testing import Toy
from servekit.worker import CancelToken, DeviceWorker

logger = logging.getLogger("toy")


async def _start() -> None:
    if "fails" in sys.argv:
        raise ModelUnavailable("no weights at /nowhere; set ATELIER_WEIGHTS")
    if "hangs" in sys.argv:
        await asyncio.get_running_loop().create_future()


async def _stop() -> None:
    logger.info("stopped")


def _stuck(settings: ServerSettings) -> App:
    device = DeviceWorker("toy-device")

    def hang(token: CancelToken) -> str:
        logger.info("stuck")
        threading.Event().wait()
        return ""

    async def stop() -> None:
        await device.close(drain=False)

    toy = Toy(lambda _: device.run(hang))
    return App(settings, toy.register, registry=new_registry("toy", "1"), start=device.start, stop=stop)


def _build(settings: ServerSettings) -> App:
    if "stuck" in sys.argv:
        return _stuck(settings)
    if "misbuilt" in sys.argv:
        raise ValueError("catalog.toml: row 1: id\ncatalog.toml: row 2: bytes")
    return App(settings, Toy().register, registry=new_registry("toy", "1"), start=_start, stop=_stop)


if __name__ == "__main__":
    launch(ServerSettings, _build)
