"""`python -m bench._soak [--minutes M]`: M minutes of load with the memory watched, then the faults; writes results."""

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Awaitable
from pathlib import Path

from bench.__main__ import end_as_by_ctrl_c
from bench._figures import Figure, percentile, table, write
from bench._soak import faults
from bench._soak.fleet import Fleet
from bench._soak.load import KINDS, Load
from bench._soak.memory import watched
from deploy.local.studio import SERVICES, Studio

_LOGS = Path("out/soak")
_SHARE = 0.8
_CALIBRATE_S = 20.0
_SETTINGS = {"DRAIN_DELAY_S": "3"}
"""Longer than the router takes to look at its servers."""


async def soak(minutes: float, *, fake_clock: bool) -> list[Figure]:
    """Return what was measured; the clock jumps if `fake_clock` says that libfaketime is there."""
    async with Studio(_LOGS, settings=_SETTINGS) as studio:
        fleet, load = Fleet(studio), Load(studio.address)
        await load.learn()
        capacity = await load.capacity(min(_CALIBRATE_S, 60 * minutes))
        rates = {kind: _SHARE * rate for kind, rate in capacity.items()}
        figures = [Figure(f"capacity, {kind}s", rate, "per s", 1) for kind, rate in capacity.items()]
        async with load.running(rates):
            figures += await _told("steady load", _steady(fleet, load, 60 * minutes))
            for name in SERVICES:
                figures += await _told(f"{name} killed", faults.killed(fleet, load, name))
            figures += await _told("slow client", faults.slow_client(fleet, load))
            figures += await _told("idle connections", faults.idle_connections(fleet, load))
            figures += await _told("full disk", faults.full_disk(fleet, load))
            if fake_clock:
                figures += await _told("clock jump", faults.clock_jump(fleet, load, _LOGS))
        await fleet.replicate()
        async with load.running(rates):
            figures += await _told("rolling restart", faults.rolling_restart(fleet, load))
        return figures


async def _steady(fleet: Fleet, load: Load, seconds: float) -> list[Figure]:
    began = time.monotonic()
    async with watched(fleet.pids) as memory:
        await asyncio.sleep(seconds)
    done = load.since(began)
    mb_per_hour = {name: each * 3600 / 1e6 for name, each in memory.slopes().items()}
    latencies = {kind: [each.seconds for each in done if each.kind == kind] for kind in KINDS}
    return [
        *(
            Figure(f"steady load: {name} grows by", each, "MB/h", len(memory.samples[name]), "<= 60")
            for name, each in mb_per_hour.items()
        ),
        *(
            Figure(f"steady load: p95 of a {kind}", 1000 * percentile(each, 0.95), "ms", len(each))
            for kind, each in latencies.items()
        ),
        Figure("steady load: requests that got an error", faults.failed(done), "requests", len(done), "0"),
        Figure("steady load: wrong answers", faults.wrong(done), "answers", len(done), "0"),
    ]


async def _told(name: str, scenario: Awaitable[list[Figure]]) -> list[Figure]:
    began = time.monotonic()
    figures = await scenario
    print(
        f"{name}: {time.monotonic() - began:.0f} s\n{table(figures)}\n" if figures else f"{name}: left out\n",
        flush=True,
    )
    return figures


def main() -> None:
    """Run the soak and write bench/results/soak.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="Minutes of steady load.")
    minutes = parser.parse_args().minutes
    figures = asyncio.run(soak(minutes, fake_clock=Path(faults.FAKETIME).exists()))
    write("soak", figures, command=f"make soak MINUTES={minutes:g}")


if __name__ == "__main__":
    end_as_by_ctrl_c(signal.SIGTERM, signal.SIGHUP)
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped: no figures were written")
