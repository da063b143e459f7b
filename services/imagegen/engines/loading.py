"""From a folder of safetensors to a diffusers pipeline on the device, a component at a time."""

import importlib
import json
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from services.imagegen.catalog import Dtype, ModelRow
from services.imagegen.domain import ModelUnavailable

_LIBRARIES = ("diffusers", "transformers")


def load_pipeline(
    row: ModelRow,
    root: Path,
    parts: Mapping[str, Path],
    *,
    device: str,
    dtype_name: Dtype,
    on_progress: Callable[[float], None],
) -> Generator[None, None, Any]:
    """Load a row's pipeline from `root` and yield between its components; returns the pipeline on the device.

    `parts` are the folders of components that live elsewhere. Raises `ModelUnavailable` if files are missing or are no
    safetensors.
    """
    _be_quiet()
    dtype = getattr(torch, dtype_name)
    try:
        index = json.loads((root / "model_index.json").read_text(encoding="utf-8"))
        components: dict[str, Any] = {}
        sizes = _weight_bytes(root, parts, index, row)
        done, total = 0, sum(sizes.values()) or 1
        for name, size in sizes.items():
            component = _load_component(name, row, root, parts, index, dtype)
            components[name] = component.to(device) if isinstance(component, torch.nn.Module) else component
            done += size
            on_progress(done / total)
            yield
        pipeline = DiffusionPipeline.from_pretrained(
            root, **components, dtype=dtype, use_safetensors=True, local_files_only=True
        )
    except (OSError, ValueError, KeyError, AttributeError, ImportError) as error:
        raise ModelUnavailable(f"{row.id} cannot be loaded from {row.place}: {error}") from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def _be_quiet() -> None:
    """Stop the libraries from drawing bars and from logging prompts, which they do when they truncate one."""
    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def _weight_bytes(root: Path, parts: Mapping[str, Path], index: Mapping[str, Any], row: ModelRow) -> dict[str, int]:
    """Return the bytes of every component that has weights, or that lives elsewhere, by name."""
    sizes = {}
    for name in [*index, *(each for each in row.components if each not in index)]:
        entry = index.get(name)
        ours = isinstance(entry, list) and entry[0] in _LIBRARIES
        folder = parts.get(name) or (root / name if ours else None)
        if folder is None:
            continue
        size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        if size or name in parts:
            sizes[name] = size
    return sizes


def _load_component(
    name: str, row: ModelRow, root: Path, parts: Mapping[str, Path], index: Mapping[str, Any], dtype: torch.dtype
) -> Any:
    elsewhere = row.components.get(name)
    options: dict[str, Any] = dict(elsewhere.options) if elsewhere else {}
    library, cls = elsewhere.cls.split(".") if elsewhere else index[name]
    kind = getattr(importlib.import_module(library), cls)
    if not hasattr(kind, "parameters"):  # a tokenizer
        return kind.from_pretrained(parts[name], local_files_only=True, **options)
    folder, subfolder = (parts[name], "") if elsewhere else (root, name)
    return kind.from_pretrained(
        folder, subfolder=subfolder, dtype=dtype, use_safetensors=True, local_files_only=True, **options
    )
