"""Which engine serves which family. Engines are named, not imported, so that this page needs no torch."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from services.imagegen.catalog import ModelRow
from services.imagegen.ports import Engine

_GENERIC = ("services.imagegen.engines.generic", "GenericEngine")

FAMILIES: Mapping[str, tuple[str, str]] = {
    "flux": ("services.imagegen.engines.flux", "FluxEngine"),
    "sdxl": _GENERIC,
    "sd3": _GENERIC,
    "hidream": _GENERIC,
    "generic": _GENERIC,
}
"""Module and class by family. `generic` serves any other diffusers pipeline whole."""


def build(row: ModelRow, pipeline: Any, adapter_path: Callable[[str], Path], max_batch: int) -> Engine:
    """Return the engine of the row's family over a loaded diffusers pipeline.

    `adapter_path` gives the folder of a LoRA adapter; `max_batch` is the most pictures in one forward pass.
    """
    module, name = FAMILIES[row.family]
    engine: Engine = getattr(import_module(module), name)(row, pipeline, adapter_path, max_batch)
    return engine
