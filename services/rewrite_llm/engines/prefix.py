"""Keys and values of prompt prefixes, computed once and never changed."""

from collections import OrderedDict
from collections.abc import Callable

import torch
from transformers import DynamicCache, PreTrainedConfig

Prefix = tuple[int, ...]
KeysAndValues = tuple[tuple[torch.Tensor, torch.Tensor], ...]
"""For each layer, keys and values of shape (1, heads, tokens, head size)."""


class PrefixStore:
    """The most recently used prefixes. Each use gets a cache of its own: the stored tensors are only read."""

    def __init__(self, config: PreTrainedConfig, compute: Callable[[Prefix], KeysAndValues], capacity: int) -> None:
        self._config = config
        self._compute = compute
        self._capacity = capacity
        self._stored: OrderedDict[Prefix, KeysAndValues] = OrderedDict()

    def cache(self, prefix: Prefix, rows: int) -> DynamicCache:
        """Return a fresh cache of `rows` equal rows that begins with `prefix`.

        `DynamicCache` copies what it is given and grows by concatenation into new tensors, so the expanded views of the
        stored tensors that it starts from are never written to.
        """
        layers = self._layers(prefix)
        expanded = ((keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1)) for keys, values in layers)
        return DynamicCache(expanded, config=self._config)

    def _layers(self, prefix: Prefix) -> KeysAndValues:
        if prefix not in self._stored:
            self._stored[prefix] = self._compute(prefix)
            while len(self._stored) > self._capacity:
                self._stored.popitem(last=False)
        self._stored.move_to_end(prefix)
        return self._stored[prefix]
