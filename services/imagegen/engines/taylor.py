"""Forecasts of a network's output: "TaylorSeer" (arXiv:2503.06923) in its lite form, of the last layer's output alone.

The arithmetic is that of `diffusers.hooks.taylorseer_cache.TaylorSeerState`, to the bit, in the output's own data type.
There the series belongs to the network, which can follow one picture at a time; here it belongs to the picture.
"""

from dataclasses import dataclass
from math import factorial

import torch


@dataclass(frozen=True, slots=True)
class Series:
    """A Taylor series about the step that was computed last."""

    step: int
    factors: tuple[torch.Tensor, ...]
    """The output, then its divided differences by step: estimates of the first derivative, the second, and so on."""

    def at(self, step: int) -> torch.Tensor:
        """Return the output forecast for a later step."""
        ahead = step - self.step
        forecast = torch.zeros_like(self.factors[0])
        for order, factor in enumerate(self.factors):
            forecast = forecast + factor * (ahead**order / factorial(order))
        return forecast


def following(before: Series | None, step: int, output: torch.Tensor, order: int) -> Series:
    """Return the series about a step whose output was computed, from that about an earlier one, of at most `order`."""
    factors = [output]
    if before is not None:
        for factor in before.factors[:order]:
            factors.append((factors[-1] - factor) / (step - before.step))
    return Series(step, tuple(factors))
