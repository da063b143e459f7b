"""The engines this service offers, read from `catalog.toml` and the user's own file, checked before anything starts."""

import difflib
import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from servekit.residency import UnknownModel
from services.voice.domain import EngineSpec

SHIPPED = Path(__file__).with_name("catalog.toml")
_TABLE = "model"
_Tag = Annotated[str, StringConstraints(to_lower=True, pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")]
"""A BCP 47 tag, in lower case as requests have it."""
_PrimaryTag = Annotated[str, StringConstraints(to_lower=True, pattern=r"^[A-Za-z]{2,8}$")]
_Limit = Annotated[int, Field(ge=20, le=10_000)]


class CatalogError(ValueError):
    """A catalog file is wrong; the message lists every mistake with file, row, field and what is allowed."""


class ModelRow(BaseModel):
    """One engine of the catalog."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")
    display_name: str = Field(min_length=1)
    family: str
    """Package of `services/voice/engines` that speaks."""
    source: str
    """Where its data or weights come from."""
    license: str
    strengths: str = Field(min_length=10)
    """What it is good at, in words that a language model can judge by."""
    tags: tuple[str, ...] = Field(default=(), strict=False)
    gated: bool = False
    """True if the source asks for an accepted licence."""
    default: bool = False
    """True for the engine that is taken when nothing speaks for another."""
    default_voice: str
    """Voice for requests that name neither voice nor language."""
    default_voices: dict[_Tag, str] = {}
    """Voice by BCP 47 tag, where the engine's own choice is to be overruled."""
    max_characters: _Limit
    """Characters the engine takes at once."""
    max_characters_by_language: dict[_PrimaryTag, _Limit] = {}
    """The same by primary language tag, where it differs."""
    fallback: str = ""
    """Engine that takes over when this one's output is unusable."""
    bytes: int = Field(ge=0)
    """Estimated bytes of memory when loaded."""
    load_s: float = Field(default=1.0, ge=0)
    """Estimated seconds to load."""

    def limit(self, language: str) -> int:
        """Return the characters that the engine takes at once in a language (BCP 47)."""
        return self.max_characters_by_language.get(language.partition("-")[0], self.max_characters)

    @property
    def spec(self) -> EngineSpec:
        """What the engine is told."""
        return EngineSpec(self.id, self.source, self.default_voices)


class Catalog:
    """Rows by id, in catalog order."""

    def __init__(self, rows: Sequence[ModelRow]) -> None:
        self.rows = {row.id: row for row in rows}

    def get(self, model_id: str) -> ModelRow:
        """Return a row. Raises `UnknownModel` with the nearest ids."""
        row = self.rows.get(model_id)
        if row is None:
            raise UnknownModel("model", model_id, difflib.get_close_matches(model_id, self.rows, n=3, cutoff=0.4))
        return row

    def default(self) -> ModelRow:
        """Return the default engine, the first if none is marked."""
        return next((row for row in self.rows.values() if row.default), next(iter(self.rows.values())))


def load(user_file: Path | None = None, *, families: Collection[str], shipped: Path = SHIPPED) -> Catalog:
    """Read the shipped catalog and lay the user's over it, row by row and field by field.

    `families` are those that an engine exists for. Raises `CatalogError` with every mistake.
    """
    mistakes: list[str] = []
    merged: dict[str, tuple[str, dict[str, Any]]] = {}
    for file in filter(None, (shipped, user_file)):
        _lay_over(merged, file, mistakes)
    rows = [row for place, raw in merged.values() if (row := _row(place, raw, mistakes))]
    mistakes += _cross_check(rows, families) if not mistakes else []
    if mistakes:
        raise CatalogError("\n".join(mistakes))
    return Catalog(rows)


def _lay_over(into: dict[str, tuple[str, dict[str, Any]]], file: Path, mistakes: list[str]) -> None:
    tables = _tables(file, mistakes)
    mistakes += [f"{file.name}: {name}: unknown table; allowed is [[{_TABLE}]]" for name in tables if name != _TABLE]
    rows, seen = tables.get(_TABLE, []), set()
    for number, raw in enumerate(rows if isinstance(rows, list) else [rows], start=1):
        key = raw.get("id") if isinstance(raw, dict) else None
        if not isinstance(key, str) or key in seen:
            mistakes.append(f"{file.name}: row {number}: id: must be a text that no other row of the file has")
            continue
        seen.add(key)
        into[key] = (f"{file.name}: row {number} ({key})", {**into.get(key, ("", {}))[1], **raw})


def _tables(file: Path, mistakes: list[str]) -> Mapping[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        mistakes.append(f"{file.name}: {error}")
        return {}


def _row(place: str, raw: Mapping[str, Any], mistakes: list[str]) -> ModelRow | None:
    try:
        return ModelRow.model_validate(raw)
    except ValidationError as error:
        for each in error.errors():
            path = ".".join(str(part) for part in each["loc"])
            allowed = f"; allowed are {', '.join(ModelRow.model_fields)}" if each["type"] == "extra_forbidden" else ""
            mistakes.append(f"{place}: {path}: {each['msg']}, got {each['input']!r:.80}{allowed}")
        return None


def _cross_check(rows: Sequence[ModelRow], families: Collection[str]) -> list[str]:
    if not rows:
        return [f"no rows; write at least one [[{_TABLE}]]"]
    mistakes = []
    ids = [row.id for row in rows]
    for row in rows:
        if row.family not in families:
            mistakes.append(f"{row.id}: family: no engine {row.family!r}; allowed are {', '.join(families)}")
        if row.fallback and (row.fallback not in ids or row.fallback == row.id):
            mistakes.append(f"{row.id}: fallback: {row.fallback!r} must be another of {', '.join(ids)}")
    defaults = [row.id for row in rows if row.default]
    if len(defaults) > 1:
        mistakes.append(f"default: only one row can be the default, not {', '.join(defaults)}")
    return mistakes
