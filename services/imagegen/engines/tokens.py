"""How long a prompt is to the text encoders of a pipeline."""

import asyncio
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from servekit.errors import ModelUnavailable
from services.imagegen.catalog import Catalog, ModelRow
from services.imagegen.engines.weights import WeightStore

_NAME = "tokenizer"
"""What the names of a pipeline's tokenizers begin with."""
_NONE = (ModelUnavailable, OSError, ValueError, KeyError, AttributeError, ImportError)
"""What is raised for a tokenizer whose files are missing, damaged or of no known kind."""


def token_counter(pipeline: Any) -> Callable[[str], int]:
    """Return the function that counts the tokens of a prompt, marks of start and end included.

    Of several tokenizers the last one counts: diffusers numbers them, the encoder that reads the most last. Without a
    tokenizer every prompt has 0 tokens.
    """
    parts = pipeline.components.items()
    tokenizers = [part for name, part in sorted(parts) if name.startswith(_NAME) and part is not None]
    return _counter(tokenizers[-1] if tokenizers else None)


class Tokenizers:
    """`ports.CountTokens` by the tokenizers on this disk, which take a moment to load, once, and no accelerator."""

    def __init__(self, catalog: Catalog, store: WeightStore) -> None:
        self._catalog = catalog
        self._store = store
        self._counters: dict[str, Callable[[str], int]] = {}

    async def __call__(self, model: str, prompt: str) -> int:
        """Return the tokens of a prompt, 0 if the model's tokenizer is not on this disk."""
        row = self._catalog.get(self._catalog.get(model).weights)
        return await asyncio.to_thread(self._count, row, prompt)

    def _count(self, row: ModelRow, prompt: str) -> int:
        if row.id not in self._counters:
            try:
                self._counters[row.id] = _counter(self._load(row, self._store.require(row.id, row)))
            except _NONE:
                return 0  # for now: files may come yet
        return self._counters[row.id](prompt)

    def _load(self, row: ModelRow, root: Path) -> Any:
        """Return the last tokenizer of a model, None if there is none."""
        index = json.loads((root / "model_index.json").read_text(encoding="utf-8"))
        places = {name: (entry, root / name) for name, entry in index.items() if _reads(row, name) and entry[0]}
        for name, part in row.components.items():
            if _reads(row, name):
                places[name] = (part.cls.split("."), self._store.require(name, part))
        if not places:
            return None
        (library, cls), folder = places[max(places)]
        return getattr(importlib.import_module(library), cls).from_pretrained(folder, local_files_only=True)


def _reads(row: ModelRow, name: str) -> bool:
    return name.startswith(_NAME) and name not in row.without


def _counter(tokenizer: Any) -> Callable[[str], int]:
    return lambda prompt: 0 if tokenizer is None else len(tokenizer(prompt).input_ids)
