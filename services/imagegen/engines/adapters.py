"""LoRA adapters on shared weights: loaded when first asked for, switched between batches."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from servekit.errors import ModelUnavailable
from services.imagegen.domain import AdapterChoice

MAX_LOADED = 16
"""Adapters kept beside the weights; the one unused for longest is dropped."""


class Wardrobe:
    """The adapters of one pipeline, at most one set worn at a time."""

    def __init__(self, pipeline: Any, path_of: Callable[[str], Path]) -> None:
        self._pipeline = pipeline
        self._path_of = path_of
        self._loaded: dict[str, str] = {}
        self._worn: tuple[AdapterChoice, ...] | None = ()
        """None while the set is being changed, and after a change that failed."""

    def wear(self, adapters: tuple[AdapterChoice, ...]) -> None:
        """Make exactly these adapters effective. Raises `ModelUnavailable` if one cannot be loaded."""
        if adapters == self._worn:
            return
        self._worn = None
        names = [self._load(each.id) for each in adapters]
        if adapters:
            self._pipeline.enable_lora()
            self._pipeline.set_adapters(names, [each.weight for each in adapters])
        elif self._loaded:
            self._pipeline.disable_lora()
        self._worn = adapters
        self._drop_beyond_limit(adapters)

    def _load(self, adapter_id: str) -> str:
        name = self._loaded.pop(adapter_id, None)
        if name is None:
            name = adapter_id.replace(".", ":")  # torch has no dots in names, and ids have no colons
            path = self._path_of(adapter_id)
            try:
                self._add(path, name)
            except torch.OutOfMemoryError:
                raise
            except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
                raise ModelUnavailable(
                    f"adapter {adapter_id}: {path.name} is no LoRA in safetensors for this model ({error})"
                ) from error
        self._loaded[adapter_id] = name
        return name

    def _add(self, path: Path, name: str) -> None:
        """Load an adapter wholly or not at all: the library puts it into one network after the other, in effect."""
        try:
            self._pipeline.load_lora_weights(path, adapter_name=name, use_safetensors=True)
        except BaseException:
            with suppress(Exception):  # what went wrong first is what to tell
                self._pipeline.delete_adapters(name)
            raise

    def _drop_beyond_limit(self, worn: tuple[AdapterChoice, ...]) -> None:
        in_use = {each.id for each in worn}
        idle = [each for each in self._loaded if each not in in_use]
        for adapter_id in idle[: max(0, len(self._loaded) - MAX_LOADED)]:
            self._pipeline.delete_adapters(self._loaded.pop(adapter_id))
