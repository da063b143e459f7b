"""The tensors of torch modules: which there are, which are the same bytes, and how they lie side by side in a block."""

from collections.abc import Iterable
from typing import Any

ALIGNMENT = 64
"""Bytes that the place of a tensor in a block is a multiple of."""


def tensors_of(modules: Iterable[Any]) -> list[Any]:
    """Return all parameters and buffers of torch modules, each once."""
    every = (each for module in modules for each in (*module.parameters(), *module.buffers()))
    return list({id(each): each for each in every}.values())


def weight_bytes(modules: Iterable[Any]) -> int:
    """Return the bytes of all parameters and buffers of torch modules; what shares memory counts once."""
    return sum(int(group[0].nbytes) for group in by_memory(tensors_of(modules)))


def by_memory(tensors: Iterable[Any]) -> list[tuple[Any, ...]]:
    """Group tensors that are the same bytes under several names."""
    groups: dict[Any, list[Any]] = {}
    for each in tensors:
        place = (each.data_ptr(), each.shape, each.stride(), each.dtype) if each.numel() else id(each)
        groups.setdefault(place, []).append(each)
    return [tuple(group) for group in groups.values()]


def padded(tensor: Any) -> int:
    """Return the bytes that a tensor takes in a block."""
    return -(-int(tensor.nbytes) // ALIGNMENT) * ALIGNMENT


def views(block: Any, like: Iterable[Any]) -> list[Any]:
    """Return a view into a block of bytes (uint8) for each of some tensors, with its shape, strides and dtype.

    Meta tensors will do; their strides must leave no gaps.
    """
    placed, offset = [], 0
    for each in like:
        flat = block[offset : offset + each.nbytes].view(each.dtype)
        placed.append(flat.as_strided(each.shape, each.stride()))
        offset += padded(each)
    return placed
