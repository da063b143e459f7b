"""Which operations a GPU does here: each is tried alone, and must give what the CPU gives.

Runs as a program of its own, because a kernel that fails to launch may spoil the context of its process.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

_DEVICE = "cuda:0"
TIMEOUT_S = 120.0
MARKER = "XTTS-PROBE "
TOLERANCE = 0.05
"""Largest difference from the CPU, for values around 1: TF32 and bfloat16 pass, a wrong kernel does not."""

Operation = Callable[[Any, Any], Any]
"""Called with torch and a tensor (2, 16, 32) on the device; returns a tensor."""


def _moved(torch: Any, x: Any) -> Any:
    return torch.empty_like(x).copy_(x)


def _spectrogram(torch: Any, x: Any) -> Any:
    window = torch.hann_window(16, device=x.device)
    return torch.stft(x.reshape(2, -1), 16, window=window, return_complex=True).abs()


def _bfloat16(torch: Any, x: Any) -> Any:
    if x.device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise RuntimeError("this GPU only emulates bfloat16")
    return (x.bfloat16() @ x.bfloat16().transpose(1, 2)).float() / 32


OPERATIONS: Mapping[str, Operation] = {
    "copy": _moved,
    "add": lambda _, x: x + 1,
    "cast": lambda _, x: x.double().float(),
    "index": lambda torch, x: x[:, torch.tensor([3, 1], device=x.device)],
    "activate": lambda torch, x: torch.nn.functional.gelu(x, approximate="tanh") + x.tanh(),
    "normalise": lambda torch, x: torch.nn.functional.layer_norm(x, x.shape[-1:]),
    "matmul": lambda _, x: x @ x.transpose(1, 2) / 32,
    "attend": lambda torch, x: torch.nn.functional.scaled_dot_product_attention(x, x, x),
    "convolve": lambda torch, x: torch.nn.functional.conv1d(x, x[:, :, :3]) / 48,
    "convolve_transposed": lambda torch, x: torch.nn.functional.conv_transpose1d(x, x[0, :, None, :4], stride=2) / 16,
    "convolve_2d": lambda torch, x: torch.nn.functional.conv2d(x[:, None], x[:, None, :3, :3]) / 9,
    "spectrogram": _spectrogram,
    "bfloat16": _bfloat16,
}  # fmt: skip


def examine(device: str) -> dict[str, str]:
    """Try every operation on a device; return what went wrong by operation, empty where nothing did."""
    import torch

    x = torch.linspace(-1, 1, 2 * 16 * 32).reshape(2, 16, 32)
    return {name: _error(torch, operation, x, device) for name, operation in OPERATIONS.items()}


def _error(torch: Any, operation: Operation, x: Any, device: str) -> str:
    try:
        difference = float((operation(torch, x.to(device)).cpu() - operation(torch, x)).abs().max())
    except Exception as error:
        return (str(error).splitlines() or [type(error).__name__])[0]
    return "" if difference < TOLERANCE else f"differs from the CPU by {difference:.2g}"


@dataclass(frozen=True, slots=True)
class Gpu:
    """The GPU of this process, as torch names it (empty if there is none), and what went wrong with each operation."""

    device: str = ""
    report: Mapping[str, str] = field(default_factory=dict)


def find_gpu() -> Gpu:
    """Return the GPU that torch sees, probed."""
    import torch

    return Gpu(_DEVICE, probe(_DEVICE, TIMEOUT_S)) if torch.cuda.is_available() else Gpu()


def probe(device: str, timeout_s: float) -> dict[str, str]:
    """Return `examine` of a process of its own. Never raises: a process that fails makes every operation fail."""
    command = [sys.executable, "-m", __name__, device]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return dict.fromkeys(OPERATIONS, f"the probe did not answer within {timeout_s:.0f} s")
    for line in reversed(done.stdout.splitlines()):
        if line.startswith(MARKER):
            report: dict[str, str] = json.loads(line.removeprefix(MARKER))
            return report
    last_words = (done.stderr.strip().splitlines() or ["no output"])[-1]
    return dict.fromkeys(OPERATIONS, f"the probe ended with status {done.returncode}: {last_words}")


if __name__ == "__main__":
    sys.stdout.write(f"\n{MARKER}{json.dumps(examine(sys.argv[1]))}\n")
