"""The safety check over a real classifier."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from servekit.device import plan_device
from servekit.errors import DeviceOutOfMemory
from servekit.worker import DeviceWorker
from services.imagegen.checks.nsfw import NsfwCheck
from tests.contract.services.imagegen import tiny_parts


async def test_a_check_without_memory_is_a_typed_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = DeviceWorker("check")
    await worker.start()
    folder = tiny_parts.save_classifier(tmp_path, fires=True)

    async def fetch() -> Path:
        return folder

    check = NsfwCheck(worker, "tiny", plan_device("cpu"), unsafe=("nsfw",), threshold=0.5, fetch=fetch)
    await check.load()

    def run_out(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(torch.nn.functional, "linear", run_out)
    with pytest.raises(DeviceOutOfMemory):
        await check(np.zeros((16, 16, 3), np.uint8))
    await worker.close()
