"""Where a pipeline's files are."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from services.imagegen.catalog import Component


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
