"""What is made from code and kept in the repository: `--write` makes it, `--check` tells whether it is fresh."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path


def section(text: str, begin: str, end: str) -> None:
    """Write `text` between the marks of the page that `--write` names, or fail if that of `--check` has another."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", type=Path)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    path: Path = arguments.check or arguments.write
    before, rest = path.read_text(encoding="utf-8").split(begin)
    _keep({path: f"{before}{begin}\n\n{text}\n\n{end}{rest.split(end)[1]}"}, write=bool(arguments.write))


def files(made: Mapping[Path, str]) -> None:
    """Write each text into its file with `--write`, or with `--check` fail if a file has another or is missing."""
    parser = argparse.ArgumentParser()
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--check", action="store_true")
    chosen.add_argument("--write", action="store_true")
    _keep(made, write=parser.parse_args().write)


def _keep(made: Mapping[Path, str], *, write: bool) -> None:
    for path, text in made.items():
        if write:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            sys.exit(f"{path} is stale: run make fix")
