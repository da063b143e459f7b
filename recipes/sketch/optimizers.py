"""Which weights of the painter learn by which rule."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

_DECAY = 0.01


class Optimizers:
    """Muon for the matrices within the networks' blocks, AdamW for all else.

    Muon makes every direction of a matrix's update equally large (Jordan et al. 2024, "Muon: an optimizer for hidden
    layers in neural networks"). Its steps are scaled to be as large as AdamW's, so that one learning rate serves both
    (Liu et al. 2025, "Muon is scalable for LLM training"). On these networks each step lowers the loss further than
    AdamW alone did, for a tenth more time.
    """

    def __init__(self, painter: nn.Module) -> None:
        matrices = list(_matrices(painter))
        known = {id(each) for each in matrices}
        others = [each for each in painter.parameters() if id(each) not in known]
        self._parts: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, weight_decay=_DECAY, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, betas=(0.9, 0.99), weight_decay=_DECAY),
        ]

    def step(self, learning_rate: float) -> None:
        """Take a step by the gradients and clear them."""
        for part in self._parts:
            for group in part.param_groups:
                group["lr"] = learning_rate
            part.step()
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, Any]]:
        """Return what `load_state_dict` needs to go on."""
        return [part.state_dict() for part in self._parts]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Go on from a state."""
        for part, state in zip(self._parts, states, strict=True):
            part.load_state_dict(state)


def _matrices(painter: nn.Module) -> Iterator[nn.Parameter]:
    """Yield the weights of linear layers inside blocks: what comes first and last in a network is no hidden layer."""
    for name, module in painter.named_modules():
        if isinstance(module, nn.Linear) and ("block" in name or ".layers." in name):
            yield module.get_parameter("weight")
