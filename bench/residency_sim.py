"""Policies of residency over simulated traces: hit rate, seconds spent swapping, worst wait.

`python -m bench.residency_sim --trace bursty` prints one trace. Compared are least recently used by bytes, the count of
models that peers keep (as many as fit whichever they are), least recently used with our host-memory tier, and ours as
the servers run it. One device of 96 GB, a host tier of 96 GB, eleven models of 225 GB in all.
"""

import argparse
from collections.abc import Sequence

from bench._figures import Figure
from bench._residency import Arrival, Machine, Outcome, Policy, Simulation
from bench._traces import SIZES, TRACES

LRU, LRU_AND_HOST, KEEP_LAST, OURS = "least recently used", "the same with host tier", "keep last N", "ours"


class LeastRecentlyUsed:
    """A ranking by the last use alone."""

    def __init__(self) -> None:
        self._uses = 0
        self._last: dict[str, int] = {}

    def touch(self, key: str) -> None:
        """Note that a use begins."""
        self._uses += 1
        self._last[key] = self._uses

    def worth(self, key: str, *, cost_s: float, size: int) -> float:
        """Return the number of the last use, 0 if there was none."""
        return self._last.get(key, 0)


def policies(machine: Machine) -> list[Policy]:
    """Return what is compared."""
    count = most_that_always_fit(machine)
    return [
        Policy(LRU, LeastRecentlyUsed, host_tier=False, grouping=0),
        Policy(LRU_AND_HOST, LeastRecentlyUsed, grouping=0),
        Policy(KEEP_LAST, LeastRecentlyUsed, keep_last=count, host_tier=False, grouping=0),
        Policy(OURS),
    ]


def most_that_always_fit(machine: Machine) -> int:
    """Return how many models may be kept by count alone without ever running out of memory."""
    sizes = sorted(SIZES.values(), reverse=True)
    return max(count for count in range(1, len(sizes) + 1) if sum(sizes[:count]) <= machine.device_bytes)


def compare(trace: Sequence[Arrival], machine: Machine) -> dict[str, Outcome]:
    """Return what each policy comes to, by name."""
    return {each.name: Simulation(SIZES, machine, each).run(trace) for each in policies(machine)}


def run() -> list[Figure]:
    """Simulate all traces."""
    figures = []
    for name, make in TRACES.items():
        figures += _figures(name, compare(make(), Machine()))
    return figures


def _figures(trace: str, outcomes: dict[str, Outcome]) -> list[Figure]:
    ours, lru, requests = outcomes[OURS], outcomes[LRU], len(outcomes[OURS].waits_s)
    aim = "<= 0.75" if trace == "bursty" else "<= 1"
    figures = [
        Figure(f"{trace}: seconds of swapping, ours beside {name}", ours.swap_s / other.swap_s, "x", requests, aim)
        for name, other in outcomes.items()
        if other is not ours
    ]
    return [
        *figures,
        Figure(f"{trace}: worst wait beside {LRU}", ours.worst_wait_s / lru.worst_wait_s, "x", requests, "<= 1"),
        Figure(f"{trace}: hit rate less that of {LRU}", ours.hit_rate - lru.hit_rate, "", requests, ">= 0"),
    ]


def _table(outcomes: dict[str, Outcome]) -> str:
    columns = ("hit rate", "swapping s", "worst wait s", "from disk", "from host", "evicted")
    head = f"{'':26}" + "".join(f"{each:>13}" for each in columns)
    rows = [
        f"{name:26}{each.hit_rate:>13.3f}{each.swap_s:>13.0f}{each.worst_wait_s:>13.1f}"
        f"{each.actions['load']:>13}{each.actions['load from host']:>13}{each.actions['evict']:>13}"
        for name, each in outcomes.items()
    ]
    return "\n".join([head, *rows])


def main() -> None:
    """Print the traces that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trace", choices=[*TRACES, "all"], default="all")
    wanted = parser.parse_args().trace
    for name, make in TRACES.items():
        if wanted in (name, "all"):
            trace = make()
            print(f"\n{name}: {len(trace)} requests in {trace[-1].at_s:.0f} s\n\n{_table(compare(trace, Machine()))}")


if __name__ == "__main__":
    main()
