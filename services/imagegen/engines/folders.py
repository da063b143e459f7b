"""Where a model's files are."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from services.imagegen.places import Component


@dataclass(frozen=True, slots=True)
class Folders:
    """Where a pipeline's files are."""

    name: str
    """What it is called in errors."""
    place: str
    """Where it comes from, for people."""
    root: Path
    parts: Mapping[str, tuple[Component, Path]]
    """The components that live elsewhere, by name, with their folders."""
    without: tuple[str, ...] = ()
    """Components that are left out."""
    gguf: Path | None = None
    """File of the denoising network, if it does not come from the pipeline's own folder."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where all that a model needs is."""

    base: Folders
    refiner: Folders | None = None
    tiny_vae: Folders | None = None
