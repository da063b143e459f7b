"""`python -m bench [NAME…]`: run benchmarks, print their tables, write their results."""

import importlib
import pkgutil
import signal
import sys

import bench
from bench._figures import table, write


def names() -> list[str]:
    """Return the names of all benchmarks."""
    return sorted(each.name for each in pkgutil.iter_modules(bench.__path__) if not each.name.startswith("_"))


def main(wanted: list[str]) -> None:
    """Run the `wanted` benchmarks, all if none is named; raises `SystemExit` for an unknown name."""
    unknown = [name for name in wanted if name not in names()]
    if unknown:
        sys.exit(f"no benchmark named {', '.join(unknown)}; there are {', '.join(names())}")
    for name in wanted or names():
        figures = importlib.import_module(f"bench.{name}").run()
        write(name, figures)
        print(f"\n{name}\n\n{table(figures)}")


def end_as_by_ctrl_c(*numbers: signal.Signals) -> None:
    """Treat other signals as Ctrl-C, so that a benchmark stops the servers it started."""
    for number in numbers:
        signal.signal(number, signal.default_int_handler)


if __name__ == "__main__":
    end_as_by_ctrl_c(signal.SIGTERM, signal.SIGHUP)
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit("stopped: no figures were written for the benchmark under way")
