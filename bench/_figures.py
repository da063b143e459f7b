"""What a benchmark returns, and how it is written down."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number."""

    compared: str
    """What was measured, beside what."""
    value: float
    unit: str
    samples: int
    aim: str = ""
    """What is hoped for, for instance `<= 1.5`; empty if nothing is."""


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` (0 to 1) of `values` lie, without interpolation."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def table(figures: Sequence[Figure]) -> str:
    """Return `figures` as a Markdown table."""
    rows = [f"| {f.compared} | {f.value:.4g} {f.unit} | {f.aim} | {f.samples} |" for f in figures]
    return "\n".join(["| what | value | aim | samples |", "|---|---|---|---|", *rows])


def write(name: str, figures: Sequence[Figure], folder: Path = RESULTS, *, command: str = "") -> None:
    """Write `figures` to `<name>.json` and `<name>.md` in `folder`; `command` is how they were made."""
    command = command or f"python -m bench {name}"
    here = machine()
    record = {"name": name, "figures": [asdict(each) for each in figures], "command": command, "machine": here}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    note = f"`{command}` on {here['cpu']}, {here['cores']} cores"
    (folder / f"{name}.md").write_text(f"# {name}\n\n{table(figures)}\n\n{note}\n", encoding="utf-8")


def machine() -> dict[str, str | int]:
    """Return what the figures depend on: the processor and how many cores there are."""
    return {"cpu": _cpu_model(), "cores": os.cpu_count() or 1}


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
