"""What every training stage shares: device, checkpoints, scalars."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch.utils.tensorboard.writer import SummaryWriter

from recipes.sketch.budget import Budget

CHECKPOINT_EVERY_SECONDS = 120.0


def device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast() -> AbstractContextManager[Any]:
    """bf16 arithmetic in matrix products and convolutions; weights stay fp32."""
    return torch.autocast(device().type, torch.bfloat16)


class Session:
    """One stage's folder: a resumable checkpoint and TensorBoard scalars."""

    def __init__(self, folder: Path, budget: Budget) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.budget = budget
        self._checkpoint = folder / "checkpoint.pt"
        self._writer = SummaryWriter(str(folder))
        self._saved_at = time.monotonic()

    def resume(self) -> dict[str, Any] | None:
        """The state last saved, the budget set to it; None for a fresh stage."""
        if not self._checkpoint.exists():
            return None
        state: dict[str, Any] = torch.load(self._checkpoint, map_location=device(), weights_only=True)
        self.budget.step, self.budget.spent = state.pop("step"), state.pop("spent")
        return state

    def steps(self) -> Iterator[int]:
        """Count the steps until the allowance is used up."""
        while self.budget.progress < 1.0:
            yield self.budget.step
            self.budget.step += 1

    def due(self) -> bool:
        """Whether the last checkpoint is old enough for a new one."""
        return time.monotonic() - self._saved_at > CHECKPOINT_EVERY_SECONDS

    def save(self, state: dict[str, Any]) -> None:
        """Write a checkpoint; an interrupted write leaves the one before."""
        partial = self._checkpoint.with_suffix(".partial")
        torch.save({**state, "step": self.budget.step, "spent": self.budget.seconds}, partial)
        partial.replace(self._checkpoint)
        self._saved_at = time.monotonic()

    def report(self, **scalars: float) -> None:
        """Send scalars to TensorBoard and print them on one line."""
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, self.budget.step)
        listed = "  ".join(f"{name} {value:.5g}" for name, value in scalars.items())
        print(f"step {self.budget.step}  {self.budget.seconds:.0f} s  {listed}", flush=True)
