from collections.abc import AsyncIterator

import pytest

from servekit.worker import DeviceWorker


@pytest.fixture
async def worker() -> AsyncIterator[DeviceWorker]:
    worker = DeviceWorker("test")
    await worker.start()
    yield worker
    await worker.close()
