"""Weights in the data type they are used in, kept on disk, so that each load but the first maps them.

The library maps files whose data type is the one wanted, and converts others, which takes fresh memory for every weight
and is what a load spends its time on. What is kept is written by the library and read by it.
"""

import hashlib
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

Reader = Callable[[Any, Path, torch.dtype, Mapping[str, Any]], Any]
"""Loads a model of a class from a folder of safetensors in a data type, with options of its `from_pretrained`."""

logger = logging.getLogger(__name__)

_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_UNFINISHED = ".unfinished-"
"""What the names of folders that are being written begin with."""
_ABANDONED_AFTER_S = 24 * 3600.0
"""Nothing is written for so long: who began it was killed."""
_DAMAGED = (OSError, ValueError, KeyError, SafetensorError)
"""What the libraries raise for files that are not whole."""


class ConvertedWeights:
    """Models of diffusers and transformers by their source files and data type, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, kind: Any, source: Path, dtype: torch.dtype, options: Mapping[str, Any]) -> Any:
        """Load a model of class `kind` from a folder of safetensors. Raises what its `from_pretrained` does."""
        if stored_dtype(source) in (None, dtype):
            return read(kind, source, dtype, options)
        kept = self._folder / _key(kind, source, dtype, options)
        if kept.is_dir():
            try:
                return read(kind, kept, dtype, options)
            except _DAMAGED as error:
                logger.warning("the converted weights in %s cannot be read and are made anew: %s", kept, error)
                shutil.rmtree(kept, ignore_errors=True)
        model = read(kind, source, dtype, options)
        self._keep(model, kept)
        return model

    def _keep(self, model: Any, kept: Path) -> None:
        """Save a model under a name that appears when all is there. A full disk costs time at the next load only."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
            unfinished = tempfile.mkdtemp(dir=self._folder, prefix=_UNFINISHED)
        except OSError as error:
            logger.warning("converted weights cannot be kept in %s: %s", self._folder, error)
            return
        try:
            model.save_pretrained(unfinished, safe_serialization=True)
            Path(unfinished).rename(kept)
        except (OSError, SafetensorError) as error:  # of a full disk the second
            logger.warning("converted weights were not kept: %s", error)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove what processes left behind that were killed at it."""
        for each in self._folder.glob(f"{_UNFINISHED}*"):
            with suppress(OSError):  # others may be done with theirs meanwhile
                if time.time() - each.stat().st_mtime > _ABANDONED_AFTER_S:
                    shutil.rmtree(each)


def read(kind: Any, folder: Path, dtype: torch.dtype, options: Mapping[str, Any]) -> Any:
    """Load a model of class `kind` the library's way, from safetensors on this disk.

    Raises `ValueError` if weights are missing: transformers would make them up at random.
    """
    model, found = kind.from_pretrained(
        folder, dtype=dtype, use_safetensors=True, local_files_only=True, output_loading_info=True, **options
    )
    if missing := sorted(found["missing_keys"]):
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(f"{folder.name} lacks weights of a {kind.__name__}: {missing[0]}{more}")
    return model


def stored_dtype(folder: Path) -> torch.dtype | None:
    """Return the data type of most bytes of a folder's safetensors; None if that is none a model computes in."""
    sizes: dict[str, int] = {}
    for file in folder.glob("*.safetensors"):
        for name, entry in _header(file).items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                sizes[entry["dtype"]] = sizes.get(entry["dtype"], 0) + end - begin
    return _DTYPES.get(max(sizes, key=lambda each: sizes[each])) if sizes else None


def _header(file: Path) -> dict[str, Any]:
    """Return what a safetensors file says of its tensors: 8 bytes of length, then so much JSON."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if length > file.stat().st_size:  # a text says so, such as git leaves in the place of a large file
            raise ValueError(f"{file.name} is no whole safetensors file; of a clone, `git lfs pull` fetches it")
        header: dict[str, Any] = json.loads(opened.read(length))
    return header


def _key(kind: Any, source: Path, dtype: torch.dtype, options: Mapping[str, Any]) -> str:
    """Return a name that changes with the files, and with what is made of them."""
    files = sorted(each for each in source.resolve().iterdir() if each.suffix in (".safetensors", ".json"))
    facts = [(str(each), each.stat().st_size, each.stat().st_mtime_ns) for each in files]
    digest = hashlib.sha256(repr((kind, facts, dtype, sorted(options.items()))).encode())
    return f"{source.parent.name}-{source.name}-{digest.hexdigest()[:16]}"
