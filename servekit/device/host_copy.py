"""A copy of a model's weights in host memory, which its tensors are pointed at while it is off the device.

Weights are only read, so a copy is made once: after that, leaving the device is a change of pointers and coming back is
one copy. The copy is one block, and pinned where the device copies faster from pinned memory. It is registered with the
driver rather than taken from torch's pinned allocator, which rounds every block up to a power of two.
"""

import logging
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from servekit.device.memory import synchronize
from servekit.device.tensors import by_memory, padded, tensors_of, views

logger = logging.getLogger(__name__)

CHUNK_BYTES = 512 * 2**20
"""Bytes that are copied before others may have a turn."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """Tensors that share memory, and where their bytes are in the block."""

    tensors: tuple[Any, ...]
    view: Any


class HostCopy:
    """The weights of `modules` (torch modules; what they share is kept once). Use it on the device thread."""

    def __init__(self, modules: Iterable[Any], *, pinned: bool) -> None:
        shared = by_memory(tensors_of(modules))
        self.bytes = sum(padded(group[0]) for group in shared)
        self._block, self._registered = _block(self.bytes, pinned)
        self._pieces = _fill(self._block, shared)

    def holds(self, modules: Iterable[Any]) -> bool:
        """Return whether this is a copy of all weights the modules have now: adapters may have come or gone."""
        held = {id(tensor): piece.view for piece in self._pieces for tensor in piece.tensors}
        now = tensors_of(modules)
        return len(now) == len(held) and all(_alike(tensor, held.get(id(tensor))) for tensor in now)

    def park(self) -> None:
        """Point the tensors at the copy; their memory on the device is free when nothing else uses it."""
        for piece in self._pieces:
            for tensor in piece.tensors:
                tensor.data = piece.view

    def restore(self, device: str) -> Generator[float, None, None]:
        """Copy everything to the device, yielding the share done now and then; the tensors point there at the end."""
        import torch

        arrived, done, reported = [], 0, 0
        for piece in self._pieces:
            there = torch.empty_strided(piece.view.shape, piece.view.stride(), dtype=piece.view.dtype, device=device)
            arrived.append(there.copy_(piece.view, non_blocking=True))
            done += there.nbytes
            if done - reported >= CHUNK_BYTES:
                synchronize(device)
                reported = done
                yield done / self.bytes
        synchronize(device)
        for piece, there in zip(self._pieces, arrived, strict=True):
            for tensor in piece.tensors:
                tensor.data = there

    def free(self) -> None:
        """Give the block up; it goes when no tensor points at it any more."""
        self._pieces = ()
        if self._registered:
            _unregister(self._block)
            self._registered = False
        self._block = None


def _fill(block: Any, groups: Sequence[tuple[Any, ...]]) -> tuple[_Piece, ...]:
    """Copy each group to its place in the block."""
    import torch

    pieces = [
        _Piece(group, view.copy_(group[0].detach(), non_blocking=True))
        for group, view in zip(groups, views(block, map(_plan, groups)), strict=True)
    ]
    if block.is_pinned():
        torch.cuda.synchronize()
    return tuple(pieces)


def _plan(group: tuple[Any, ...]) -> Any:
    """Return a tensor without memory: as the group's, with its strides if they leave no gaps (channels last, say)."""
    import torch

    return torch.empty_like(group[0], device="meta")


def _alike(tensor: Any, view: Any) -> bool:
    return view is not None and tensor.shape == view.shape and tensor.dtype == view.dtype


def _block(size: int, pinned: bool) -> tuple[Any, bool]:
    """Return that many bytes of host memory, and whether they were registered as pinned."""
    import torch

    block = torch.empty(size, dtype=torch.uint8)
    if not pinned or not size:
        return block, False
    error = torch.cuda.cudart().cudaHostRegister(block.data_ptr(), size, 0)
    if int(error):
        logger.warning("%d bytes of host memory could not be pinned (error %s); copying will be slower", size, error)
    return block, not int(error)


def _unregister(block: Any) -> None:
    import torch

    torch.cuda.cudart().cudaHostUnregister(block.data_ptr())
