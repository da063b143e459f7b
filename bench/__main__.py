"""`python -m bench [NAME…]`: run benchmarks, print their tables, write their results.

`--seconds` and `--rounds` change how long those that know them take; what comes out is then printed and not written.
"""

import importlib
import inspect
import pkgutil
import signal
import sys
from argparse import ArgumentParser
from types import ModuleType

import bench
from bench._figures import table, write


def names() -> list[str]:
    """Return the names of all benchmarks."""
    return sorted(each.name for each in pkgutil.iter_modules(bench.__path__) if not each.name.startswith("_"))


def main(arguments: list[str]) -> None:
    """Run the benchmarks named, all if none is; raises `SystemExit` for an unknown name or option."""
    parser = ArgumentParser(prog="python -m bench")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--rounds", type=int)
    options = {key: value for key, value in vars(parser.parse_args(arguments)).items() if value is not None}
    wanted = options.pop("names")
    unknown = [name for name in wanted if name not in names()]
    if unknown:
        sys.exit(f"no benchmark named {', '.join(unknown)}; there are {', '.join(names())}")
    for name in wanted or names():
        module = importlib.import_module(f"bench.{name}")
        _check(module, options)
        figures = module.run(**options)
        if not options:
            write(name, figures)
        print(f"\n{name}\n\n{table(figures)}")


def _check(module: ModuleType, options: dict[str, float]) -> None:
    known = inspect.signature(module.run).parameters
    foreign = [f"--{option}" for option in options if option not in known]
    if foreign:
        sys.exit(f"{module.__name__} has no {' and no '.join(foreign)}")


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
