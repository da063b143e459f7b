"""What an engine is built from."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.imagegen.catalog import ModelRow


@dataclass(frozen=True, slots=True)
class Parts:
    """A row, its loaded pipelines, and what they may use."""

    row: ModelRow
    pipeline: Any
    """The diffusers pipeline."""
    adapter_path: Callable[[str], Path]
    """Gives the folder of a LoRA adapter."""
    max_batch: int
    """Pictures in one forward pass at most."""
    refiner: Any = None
    """The diffusers pipeline that takes the last steps; None without one."""
    tiny_vae: Any = None
    """The diffusers autoencoder that decodes where a tier asks for it; None without one."""
    offloaded: bool = False
    """True if weights are in host memory and come to the device layer by layer; the autoencoders stay on it."""
