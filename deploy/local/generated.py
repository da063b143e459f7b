"""Text that is generated into a page, between two marks, or checked to be fresh."""

import argparse
import sys
from pathlib import Path


def main(text: str, begin: str, end: str) -> None:
    """Write `text` between the marks of the page that `--write` names, or fail if that of `--check` has another."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", type=Path)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    path: Path = arguments.check or arguments.write
    old = path.read_text()
    before, rest = old.split(begin)
    new = f"{before}{begin}\n\n{text}\n\n{end}{rest.split(end)[1]}"
    if arguments.write:
        path.write_text(new)
    elif old != new:
        sys.exit(f"what is generated into {path} is stale: run make fix")
