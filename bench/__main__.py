"""`python -m bench [NAME…]`: run benchmarks, print their tables, write their results."""

import importlib
import pkgutil
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


if __name__ == "__main__":
    main(sys.argv[1:])
