"""Encoded prompts, kept for the next request with the same words.

They are kept in host memory: a device has better use for its own, and a model that leaves it leaves nothing behind.
"""

from collections import OrderedDict
from collections.abc import Hashable

import torch

Embeddings = tuple[torch.Tensor, ...]


class PromptCache:
    """Embeddings by key, least recently used first out, bounded by bytes."""

    def __init__(self, max_bytes: int = 256 * 1024**2) -> None:
        self._max_bytes = max_bytes
        self._held = 0
        self._entries: OrderedDict[Hashable, tuple[torch.device, Embeddings]] = OrderedDict()

    def find(self, key: Hashable) -> Embeddings | None:
        """Return the embeddings of `key`, where they were made; None if they are not held."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        device, embeddings = self._entries[key]
        return tuple(each.to(device) for each in embeddings)

    def keep(self, key: Hashable, embeddings: Embeddings) -> None:
        """Hold embeddings that are not held yet."""
        self._entries[key] = (embeddings[0].device, tuple(each.cpu() for each in embeddings))
        self._held += _bytes(embeddings)
        while self._held > self._max_bytes and len(self._entries) > 1:
            _, (_, oldest) = self._entries.popitem(last=False)
            self._held -= _bytes(oldest)


def _bytes(embeddings: Embeddings) -> int:
    return sum(each.numel() * each.element_size() for each in embeddings)
