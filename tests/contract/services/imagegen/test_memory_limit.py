"""A CPU's memory that really runs out, in a process of its own with a limit on it."""

import asyncio
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from servekit.device import plan_device
from servekit.errors import DeviceOutOfMemory
from servekit.worker import CancelToken, DeviceWorker
from services.imagegen.catalog import Catalog
from services.imagegen.engines.loader import EngineLoader
from services.imagegen.engines.weights import WeightStore
from services.imagegen.profiles import profiles
from tests.contract.services.imagegen import runs
from tests.unit.services.imagegen import rows

ROOM = 16 * 2**20
"""Bytes beyond what is taken already: enough for a small picture, too few for a large one."""
SIDE = 1024


def test_a_picture_that_does_not_fit_is_refused_with_the_bytes_and_the_next_one_is_made(models_dir: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-m", __name__, str(models_dir)]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[4])
    told = json.loads(ran.stdout)

    assert told["wanted_bytes"] > ROOM
    assert told["counted"] == ["tiny_sdxl"]
    assert told["same"]


@contextmanager
def limited(room: int = ROOM) -> Iterator[None]:
    """Let this process take `room` bytes more and no more."""
    usual = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + room, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, usual)


async def run_out(models_dir: Path) -> dict[str, object]:
    """Make a small picture, a large one under the limit, and the small one again."""
    row, device, counted = rows.row(rows.SDXL), plan_device("cpu", dtype="float32", threads=1), list[str]()
    worker = DeviceWorker("device")
    await worker.start()
    loader = EngineLoader(
        Catalog([row]),
        WeightStore(models_dir, token=None, download=False),
        device,
        profiles(Catalog([row]), device, host_bytes=0, compiled=False),
        worker,
        max_batch=4,
        converted_dir=None,
        step_observer=lambda _model: lambda _width, _seconds: None,
        on_out_of_memory=counted.append,
    )
    batcher = (await loader.load(row.id, lambda _fraction: None, CancelToken())).value
    before, wanted = await batcher.make(runs.job()), 0
    try:
        with limited():
            await batcher.make(runs.job(width=SIDE, height=SIDE, steps=1))
    except DeviceOutOfMemory as error:
        wanted = error.wanted_bytes
    again = await batcher.make(runs.job())
    await worker.close()
    same = runs.apart(before.decoded.pixels, again.decoded.pixels) == 0
    return {"wanted_bytes": wanted, "counted": counted, "same": same}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run_out(Path(sys.argv[1])))))
