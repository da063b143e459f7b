"""From a folder of safetensors to a diffusers pipeline on the device, a component at a time."""

import importlib
import json
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderTiny, DiffusionPipeline, GGUFQuantizationConfig
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from servekit.errors import ModelUnavailable
from services.imagegen.catalog import Dtype
from services.imagegen.engines.converted import Reader, read
from services.imagegen.engines.folders import Folders
from services.imagegen.places import NETWORKS

_LIBRARIES = ("diffusers", "transformers")
_BROKEN = (OSError, ValueError, KeyError, AttributeError, ImportError, SafetensorError)
"""What the libraries raise for files that are missing, damaged or of no known kind."""


def load_pipeline(
    folders: Folders,
    *,
    device: str,
    dtype_name: Dtype,
    on_progress: Callable[[float], None],
    shared: Mapping[str, Any] | None = None,
    reader: Reader = read,
    arrange: Callable[[str, torch.nn.Module], object] = lambda _name, _module: None,
    allow_pickle: bool = False,
) -> Generator[None, None, Any]:
    """Load a pipeline and yield between its components; returns the pipeline on the device.

    `shared` are components that another pipeline has on the device already; `reader` loads the others, and `arrange` is
    called with the name and module of each before it goes to the device. Raises `ModelUnavailable` if files are
    missing, or are no safetensors and pickles are not allowed.
    """
    _be_quiet()
    dtype = getattr(torch, dtype_name)
    try:
        index = json.loads((folders.root / "model_index.json").read_text(encoding="utf-8"))
        components = {**_absent(folders, index), **(shared or {})}
        sizes = _weight_bytes(folders, index, without=components)
        done, total = 0, sum(sizes.values()) or 1
        for name, size in sizes.items():
            component = _load_component(name, folders, index, dtype, reader)
            if isinstance(component, torch.nn.Module):
                arrange(name, component)
                component = component.to(device)
            components[name] = component
            done += size
            on_progress(done / total)
            yield
        options = {**_options(index), "use_safetensors": None if allow_pickle else True}
        pipeline = DiffusionPipeline.from_pretrained(
            folders.root, **components, **options, dtype=dtype, local_files_only=True
        )
    except _BROKEN as error:
        raise ModelUnavailable(f"{folders.name} cannot be loaded from {folders.place}: {error}") from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def load_tiny_vae(folders: Folders, dtype_name: Dtype, reader: Reader = read) -> torch.nn.Module:
    """Load a tiny autoencoder from safetensors. Raises `ModelUnavailable` if files are missing or broken."""
    try:
        vae: torch.nn.Module = reader(AutoencoderTiny, folders.root, getattr(torch, dtype_name), {})
    except _BROKEN as error:
        raise ModelUnavailable(f"{folders.name} cannot be loaded from {folders.place}: {error}") from error
    return vae


def _be_quiet() -> None:
    """Stop the libraries from drawing bars and from logging prompts, which they do when they truncate one."""
    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def _absent(folders: Folders, index: Mapping[str, Any]) -> dict[str, Any]:
    """Return None for each component that is left out: some pipelines want to be told."""
    saved_without = [name for name, entry in index.items() if entry == [None, None] and name not in folders.parts]
    return dict.fromkeys([*saved_without, *folders.without])


def _options(index: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a pipeline is told beyond its components: SDXL's would watermark if it found the package for it."""
    return {"add_watermarker": False} if index["_class_name"].startswith("StableDiffusionXL") else {}


def _weight_bytes(folders: Folders, index: Mapping[str, Any], *, without: Mapping[str, Any]) -> dict[str, int]:
    """Return the bytes of every component that has weights, or that lives elsewhere, by name."""
    sizes = {}
    for name in dict.fromkeys([*index, *folders.parts]):
        if name in without:
            continue
        entry = index.get(name)
        ours = isinstance(entry, list) and entry[0] in _LIBRARIES
        folder = folders.parts[name][1] if name in folders.parts else folders.root / name if ours else None
        if folder is None:
            continue
        size = sum(file.stat().st_size for file in _weight_files(name, folder, folders))
        if size or name in folders.parts:
            sizes[name] = size
    return sizes


def _weight_files(name: str, folder: Path, folders: Folders) -> list[Path]:
    if folders.gguf is not None and name in NETWORKS:
        return [folders.gguf]
    return list(folder.glob("*.safetensors"))


def _load_component(name: str, folders: Folders, index: Mapping[str, Any], dtype: torch.dtype, reader: Reader) -> Any:
    if name in folders.parts:
        part, folder = folders.parts[name]
        (library, cls), options = part.cls.split("."), dict(part.options)
    else:
        (library, cls), folder, options = index[name], folders.root / name, {}
    kind = getattr(importlib.import_module(library), cls)
    if folders.gguf is not None and name in NETWORKS:
        return _load_gguf(kind, folders.gguf, folder, dtype)
    if not hasattr(kind, "parameters"):  # a tokenizer
        return kind.from_pretrained(folder, local_files_only=True, **options)
    return reader(kind, folder, dtype, options)


def _load_gguf(kind: Any, file: Path, config: Path, dtype: torch.dtype) -> torch.nn.Module:
    """Load a network of class `kind` as its folder's configuration says, its weights in the bits they have in the file.

    They are widened to `dtype` layer by layer, while one works.
    """
    network: torch.nn.Module = kind.from_single_file(
        str(file),
        config=str(config),
        quantization_config=GGUFQuantizationConfig(compute_dtype=dtype),
        dtype=dtype,
        local_files_only=True,
    )
    return network
