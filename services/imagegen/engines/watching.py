"""Looks up between the blocks of a model, so that nobody has to wait for the end of a step that is not wanted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from services.imagegen.engines.parts import Parts


class Watch:
    """Calls a function before each block of a pipeline's networks, encoders and autoencoder.

    Compiled blocks are left alone: a call from inside would break their graph. Their work ends with the step.
    """

    def __init__(self, parts: Parts) -> None:
        self._look: Callable[[], None] | None = None
        for pipeline in (parts.pipeline, parts.refiner):
            for component in getattr(pipeline, "components", {}).values():
                if isinstance(component, torch.nn.Module):
                    self._hook(component)

    @contextmanager
    def calling(self, look: Callable[[], None]) -> Iterator[None]:
        """Inside the block, call `look` before each block of the model; what it raises leaves the model's work."""
        self._look = look
        try:
            yield
        finally:
            self._look = None

    def _hook(self, component: torch.nn.Module) -> None:
        for block in _blocks(component):
            if block._compiled_call_impl is None:
                block.register_forward_pre_hook(self._before)

    def _before(self, _block: torch.nn.Module, _inputs: Any) -> None:
        if self._look is not None:
            self._look()


def _blocks(module: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """Yield the members of a network's outermost lists of modules: its blocks or layers."""
    for child in module.children():
        if isinstance(child, torch.nn.ModuleList):
            yield from child.children()  # a list may hold None in the place of a block
        else:
            yield from _blocks(child)
