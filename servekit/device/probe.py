"""Tries each GPU in a process of its own: a failed kernel launch may poison the CUDA context of the process.

`probe_gpus` runs this file as a script; it uses nothing but the standard library and torch. It prints one line of JSON
after a marker.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MARKER = "GPU-PROBE:"


@dataclass(frozen=True, slots=True)
class GpuProbe:
    """What one GPU said of itself and whether it worked. `error` is empty if it did."""

    index: int
    name: str
    capability: tuple[int, int]
    gfx: str
    total_bytes: int
    free_bytes: int
    error: str
    bfloat16: bool


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """All GPUs, or why they could not be asked."""

    gpus: tuple[GpuProbe, ...]
    error: str = ""


def probe_gpus(timeout_s: float) -> ProbeReport:
    """Run the probe in a process of its own. Never raises: what went wrong is in the report."""
    command = [sys.executable, "-P", str(Path(__file__))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return ProbeReport((), f"the GPU probe did not answer within {timeout_s:.0f} s")
    except OSError as error:
        return ProbeReport((), f"the GPU probe could not be started: {error}")
    return parse_report(done.stdout, done.stderr, done.returncode)


def parse_report(stdout: str, stderr: str, returncode: int) -> ProbeReport:
    """Read what the probe printed; a probe that died before it could print gives its last words."""
    for line in reversed(stdout.splitlines()):
        if line.startswith(MARKER):
            gpus = json.loads(line.removeprefix(MARKER))
            return ProbeReport(tuple(GpuProbe(**{**gpu, "capability": tuple(gpu["capability"])}) for gpu in gpus))
    last_words = (stderr.strip().splitlines() or ["no output"])[-1]
    return ProbeReport((), f"the GPU probe ended with status {returncode}: {last_words}")


def examine(torch: Any, index: int) -> dict[str, Any]:
    """Return the fields of `GpuProbe` for one GPU, as JSON has them."""
    properties = torch.cuda.get_device_properties(index)
    error = _first_error(torch, index)
    return {
        "index": index,
        "name": properties.name,
        "capability": [properties.major, properties.minor],
        "gfx": getattr(properties, "gcnArchName", ""),
        "total_bytes": properties.total_memory,
        "free_bytes": 0 if error else torch.cuda.mem_get_info(index)[0],
        "error": error,
        "bfloat16": not error and not _bfloat16_error(torch, index),
    }


def _first_error(torch: Any, index: int) -> str:
    """Add two small vectors and wait; return what went wrong, usually "no kernel image is available"."""
    try:
        total = (torch.ones(16, device=f"cuda:{index}") + 1).sum().item()
    except Exception as error:
        return str(error).splitlines()[0]
    return "" if total == 32 else f"1 + 1 gave {total / 16}"


def _bfloat16_error(torch: Any, index: int) -> str:
    try:
        ones = torch.ones(32, 32, device=f"cuda:{index}", dtype=torch.bfloat16)
        product = (ones @ ones).float().mean().item()
        torch.cuda.synchronize(index)
    except Exception as error:
        return str(error).splitlines()[0]
    return "" if product == 32 else f"a product of ones gave {product}"


def _main() -> None:
    import torch

    gpus = [examine(torch, index) for index in range(torch.cuda.device_count())]
    sys.stdout.write(f"\n{MARKER}{json.dumps(gpus)}\n")


if __name__ == "__main__":
    _main()
