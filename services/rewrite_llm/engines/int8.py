"""Linear layers whose weights take one byte each.

Every output channel has a scale by which its largest weight becomes 127 (symmetric weight-only quantisation); inputs
and outputs keep their type. The weights are widened as they are used: that costs time and saves memory, on any device.
"""

import torch
from torch import nn
from torch.nn import functional

_LARGEST = 127


class Int8Linear(nn.Module):
    """Stands in for an `nn.Linear`."""

    weight: torch.Tensor
    scale: torch.Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        scale = weight.abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny) / _LARGEST
        self.register_buffer("weight", (weight / scale[:, None]).round().to(torch.int8))
        self.register_buffer("scale", scale.to(linear.weight.dtype))
        self.bias = linear.bias

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return what the layer makes of `inputs`, of shape (…, features)."""
        widened = self.weight * self.scale[:, None]  # scaled before it is used: sums of unscaled ones overflow float16
        return functional.linear(inputs, widened, self.bias)


def quantise(model: nn.Module) -> None:
    """Replace every linear layer inside `model`, which must not share its weights with any other layer."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Linear):
                setattr(parent, name, Int8Linear(child))
