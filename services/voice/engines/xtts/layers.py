"""Layers that compute elsewhere, or faster, than the module they are part of."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

LINEAR = (nn.Linear, Conv1D)
HEAVY = (*LINEAR, nn.Conv1d, nn.ConvTranspose1d)


class OnCpu(nn.Module):
    """A layer whose weights stay on the CPU: only activations travel."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer.to("cpu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute on the CPU and return the result to where `x` came from."""
        result: torch.Tensor = self.layer(x.to("cpu"))
        return result.to(x.device)


class Packed(nn.Module):
    """A linear layer with its weight in the order in which oneDNN reads it; twice as fast in bfloat16 for few rows.

    Uses what `torch.compile` makes of a frozen linear layer on the CPU, without compiling.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        weight = layer.weight.detach()
        weight = weight.t().contiguous() if isinstance(layer, Conv1D) else weight
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight, 1)
        self._bias = None if layer.bias is None else layer.bias.detach()
        self._out = weight.shape[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `x @ weight.T + bias`, shape (..., out)."""
        rows = x.reshape(-1, x.shape[-1])
        made: torch.Tensor = torch.ops.mkldnn._linear_pointwise(rows, self._packed, self._bias, "none", [], "")
        return made.view(*x.shape[:-1], self._out)


def replace(module: nn.Module, kinds: tuple[type[nn.Module], ...], make: Callable[[nn.Module], nn.Module]) -> None:
    """Replace every layer of these kinds below `module` by what `make` makes of it."""
    for name, child in list(module.named_children()):
        if isinstance(child, kinds):
            setattr(module, name, make(child))
        else:
            replace(child, kinds, make)
