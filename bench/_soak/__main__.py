"""`python -m bench._soak [--minutes M] [SCENARIO…]`: load with the memory watched, then the faults; writes results."""

import argparse
import asyncio
import resource
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

from bench.__main__ import end_as_by_ctrl_c
from bench._figures import Figure, percentile, table, write
from bench._soak import faults
from bench._soak.fleet import Fleet
from bench._soak.load import KINDS, Load, Outcome
from bench._soak.memory import watched
from deploy.local.studio import Studio

Scenario: TypeAlias = Callable[[Fleet, Load], Awaitable[list[Figure]]]

_LOGS = Path("out/soak")
_SHARE = 0.8
_CALIBRATE_S = 20.0
_SETTINGS = {"DRAIN_DELAY_S": "3"}
"""Longer than the router takes to look at its servers."""
_OPEN_FILES = 4096


def scenarios(minutes: float) -> dict[str, Scenario]:
    """Return what can be done, in order."""
    return {
        "steady": partial(_steady, seconds=60 * minutes),
        "killed": faults.killed,
        "slow-client": faults.slow_client,
        "idle-connections": faults.idle_connections,
        "full-disk": partial(faults.full_disk, folder=_LOGS),
        "clock-jump": partial(faults.clock_jump, folder=_LOGS),
        "rolling-restart": faults.rolling_restart,
    }


async def soak(chosen: dict[str, Scenario], calibrate_s: float) -> list[Figure]:
    """Do what is `chosen` at 80 % of what the studio can do, and return what was measured."""
    async with Studio(_LOGS, settings=_SETTINGS) as studio:
        fleet, load = Fleet(studio), Load(studio.address)
        await load.learn()
        capacity = await load.capacity(calibrate_s)
        figures = [Figure(f"capacity, {kind}s", rate, "per s", 1) for kind, rate in capacity.items()]
        async with load.running({kind: _SHARE * rate for kind, rate in capacity.items()}):
            for name, scenario in chosen.items():
                figures += await _told(name, scenario(fleet, load))
        return figures


async def _steady(fleet: Fleet, load: Load, seconds: float) -> list[Figure]:
    began = time.monotonic()
    async with watched(fleet.pids) as memory:
        await asyncio.sleep(seconds)
    done = load.since(began)
    mb_per_hour = {name: each * 3600 / 1e6 for name, each in memory.slopes().items()}
    latencies = {kind: [each.seconds for each in done if each.kind == kind] for kind in KINDS}
    return [
        *_held(load, done, seconds),
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


def _held(load: Load, done: Sequence[Outcome], seconds: float) -> list[Figure]:
    """Return which share of the requests that were meant was made: slow answers hold clients up."""
    made = {kind: sum(each.kind == kind for each in done) for kind in KINDS}
    return [
        Figure(f"steady load: {kind}s asked for", made[kind] / seconds / rate, "of those meant", made[kind], ">= 0.95")
        for kind, rate in load.rates.items()
    ]


async def _told(name: str, scenario: Awaitable[list[Figure]]) -> list[Figure]:
    began = time.monotonic()
    figures = await scenario
    print(f"{name}: {time.monotonic() - began:.0f} s\n{table(figures)}\n", flush=True)
    return figures


def main(names: Sequence[str], minutes: float) -> None:
    """Run the scenarios called `names`; all if there are none, and then write bench/results/soak.json."""
    known = scenarios(minutes)
    if not faults.FAKETIME.exists():
        sys.exit(f"{faults.FAKETIME} is missing: run `make soak`, which installs Debian's libfaketime")
    if unknown := set(names) - known.keys():
        sys.exit(f"no scenario named {', '.join(unknown)}; there are {', '.join(known)}")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_OPEN_FILES, most), most))
    chosen = {name: each for name, each in known.items() if not names or name in names}
    figures = asyncio.run(soak(chosen, min(_CALIBRATE_S, 60 * minutes)))
    if not names:
        write("soak", figures, command=f"make soak MINUTES={minutes:g}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="Minutes of steady load.")
    parser.add_argument("scenarios", nargs="*", help="Which; all if none is named.")
    arguments = parser.parse_args()
    end_as_by_ctrl_c(signal.SIGTERM, signal.SIGHUP)
    try:
        main(arguments.scenarios, arguments.minutes)
    except KeyboardInterrupt:
        sys.exit("stopped: no figures were written")
