"""What the idle studio costs: seconds until four services are healthy, and the resident memory of each."""

import asyncio
import tempfile
import time
from pathlib import Path

import psutil

from bench._figures import Figure
from deploy.local.studio import Studio

ROUTER_AIM_MB = 120
START_AIM_S = 15


def run() -> list[Figure]:
    """Start the studio once and look at it before the first request."""
    return asyncio.run(_measure())


async def _measure() -> list[Figure]:
    with tempfile.TemporaryDirectory() as logs:
        began = time.perf_counter()
        async with Studio(Path(logs)) as studio:
            seconds = time.perf_counter() - began
            resident = {name: _resident_mb(process.pid) for name, process in studio.running.items()}
    figures = [Figure("four services healthy after", seconds, "s", 1, f"<= {START_AIM_S}")]
    for name, megabytes in resident.items():
        aim = f"<= {ROUTER_AIM_MB}" if name == "router" else ""
        figures.append(Figure(f"resident memory of {name}, idle", megabytes, "MB", 1, aim))
    return figures


def _resident_mb(pid: int) -> float:
    """Return the resident memory of a process and its children (espeak's workers), in megabytes."""
    process = psutil.Process(pid)
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True))) / 1e6
