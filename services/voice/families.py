"""Which engines there are: every package `engines/<name>/` with a class `Family` in its `engine.py`."""

import importlib
import pkgutil
from typing import Any, cast

from services.voice import engines
from services.voice.ports import Family


def names() -> tuple[str, ...]:
    """Return the names that a catalog row may give as its family."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(engines.__path__) if module.ispkg))


def create(name: str, **settings: Any) -> Family:
    """Make a family; `settings` are the family's own."""
    module = importlib.import_module(f"{engines.__name__}.{name}.engine")
    return cast(Family, module.Family(**settings))
