"""Weights kept in one device's memory while nobody needs them on the host."""

from collections import defaultdict

import torch
from torch import nn


class Parking:
    """Keeps the parameters and buffers of a module on `device`, one flat tensor for each data type.

    They come back as one copy each; since they never change, they are dropped on the host without copying anything.
    Starts with the module asleep.
    """

    def __init__(self, module: nn.Module, device: str) -> None:
        tensors: dict[torch.dtype, list[torch.Tensor]] = defaultdict(list)
        for tensor in dict.fromkeys([*module.parameters(), *module.buffers()]):
            tensors[tensor.dtype].append(tensor)
        self._shapes = {dtype: [(each, each.shape) for each in group] for dtype, group in tensors.items()}
        self._parked = {
            dtype: torch.cat([each.detach().reshape(-1) for each in group]).to(device, copy=True)
            for dtype, group in tensors.items()
        }
        self._awake = True
        self.sleep()

    @property
    def awake(self) -> bool:
        """True while the weights are on the host."""
        return self._awake

    def wake(self) -> None:
        """Bring the weights to the host, if they are not there."""
        if self._awake:
            return
        for dtype, tensors in self._shapes.items():
            flat = self._parked[dtype].to("cpu", copy=True)
            sizes = [shape.numel() for _, shape in tensors]
            for (tensor, shape), part in zip(tensors, flat.split(sizes), strict=True):
                tensor.data = part.view(shape)
        self._awake = True

    def sleep(self) -> None:
        """Drop the weights on the host, if they are there."""
        if not self._awake:
            return
        for dtype, tensors in self._shapes.items():
            for tensor, _ in tensors:
                tensor.data = torch.empty(0, dtype=dtype)
        self._awake = False
