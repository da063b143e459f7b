"""The models this service can use, read from `catalog.toml` and the user's own file."""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

SHIPPED = Path(__file__).with_name("catalog.toml")
RULES = "rules"
"""Id of the row that needs no weights, and the default: see docs/decisions/0012."""
_GUESSED_BYTES = 3_000_000_000


class CatalogError(ValueError):
    """A catalog file is wrong; the message lists every mistake with file, row, field and what is allowed."""


class ModelRow(BaseModel):
    """One model of the catalog."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")
    display_name: str
    engine: Literal["transformers", "openai", "rules"]
    """What runs it: this service, an OpenAI-compatible endpoint, or nothing but rules."""
    source: str = ""
    """Folder of the weights, relative to the models folder or absolute."""
    hub: str = ""
    """Repository of the weights, `owner/name`."""
    revision: str = ""
    """Commit or tag of the repository; empty means its main branch."""
    license: str = ""
    strengths: str = ""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Data type of the weights; `auto` is the device's."""
    bytes: int = Field(default=_GUESSED_BYTES, ge=0)
    """Estimated bytes of the weights on the device."""
    unsafe_threshold: float | None = Field(default=None, gt=0, le=1)
    """Probability from which this model's "unsafe" counts; empty for the setting's."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        places = sum(map(bool, (self.source, self.hub)))
        if places != self.has_weights:
            raise ValueError("give either source (a folder) or hub (owner/name), and neither without weights here")
        return self

    @property
    def has_weights(self) -> bool:
        """Whether there is something to load onto the device."""
        return self.engine == "transformers"

    @property
    def place(self) -> str:
        """Where the weights come from, for people."""
        return self.source or "@".join(filter(None, (self.hub, self.revision))) or "none"


class Catalog:
    """Models by id, in catalog order."""

    def __init__(self, models: Iterable[ModelRow]) -> None:
        self.models = {row.id: row for row in models}

    def including(self, name: str, *, remote: bool = False) -> tuple["Catalog", ModelRow]:
        """Return the row that `name` means, and a catalog that has it.

        `name` is an id of the catalog, a folder, or a hub id; empty means rules. A `remote` one is whatever the
        endpoint calls its model.
        """
        row = _unlisted(name, remote=True) if remote else self._find(name)
        return Catalog({**self.models, row.id: row}.values()), row

    def _find(self, name: str) -> ModelRow:
        if not name:
            return self.models[RULES]
        known = (row for row in self.models.values() if name in {row.id, row.hub, row.source})
        return next(known, None) or _unlisted(name)


def _unlisted(name: str, *, remote: bool = False) -> ModelRow:
    """Return a row for a folder, hub id or model of an endpoint that the catalog does not know."""
    path = Path(name).expanduser()
    place: dict[str, Any] = {"source": str(path)} if path.is_dir() or path.is_absolute() else {"hub": name}
    how = {"engine": "openai", "bytes": 0} if remote else {"engine": "transformers", **place}
    model_id = "".join(char if char.isascii() and char.isalnum() else "_" for char in path.name.lower()).strip("_")[:64]
    try:
        return ModelRow.model_validate({"id": model_id or "custom", "display_name": path.name or name, **how})
    except ValidationError as error:
        raise CatalogError(
            f"language model {name!r} is no id of the catalog, no folder and no hub id: {error}"
        ) from None


def load(user_file: Path | None = None, shipped: Path = SHIPPED) -> Catalog:
    """Read the shipped catalog and lay the user's over it, row by row and field by field.

    Raises `CatalogError` with every mistake.
    """
    raw: dict[str, dict[str, Any]] = {}
    mistakes: list[str] = []
    for file in filter(None, (shipped, user_file)):
        for number, row in enumerate(_rows(file, mistakes), start=1):
            key = str(row.get("id", f"row {number} of {file.name}"))
            raw[key] = {**raw.get(key, {}), **row}
    models = [model for key, row in raw.items() if (model := _parse(key, row, mistakes)) is not None]
    if mistakes:
        raise CatalogError("\n".join(mistakes))
    return Catalog(models)


def _rows(file: Path, mistakes: list[str]) -> list[dict[str, Any]]:
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        mistakes.append(f"{file}: {error}")
        return []
    rows = tables.pop("model", [])
    mistakes += [f"{file}: {name}: unknown table; allowed is model" for name in tables]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        mistakes.append(f"{file}: write rows as [[model]]")
        return []
    return rows


def _parse(key: str, row: dict[str, Any], mistakes: list[str]) -> ModelRow | None:
    try:
        return ModelRow.model_validate(row)
    except ValidationError as error:
        for each in error.errors():
            field = ".".join(map(str, each["loc"])) or "row"
            mistakes.append(f"model {key}: {field}: {each['msg']} (got {each['input']!r:.80})")
        return None
