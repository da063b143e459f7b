"""The models this service offers, read from `catalog.toml` and the user's own file, checked before anything starts."""

import difflib
import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from servekit.residency import UnknownModel

SHIPPED = Path(__file__).with_name("catalog.toml")

Dtype = Literal["float32", "bfloat16", "float16"]
Capability = Literal["text_to_image", "image_to_image", "inpainting", "negative_prompt", "adapters"]

_DTYPE_BYTES: Mapping[Dtype, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
_Id = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")


class CatalogError(ValueError):
    """A catalog file is wrong; the message lists every mistake with file, row, field and what is allowed."""


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


R = TypeVar("R", bound=_Row)


class Span(_Row):
    """A number's default and bounds."""

    default: float
    min: float
    max: float

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.min <= self.default <= self.max:
            raise ValueError(f"must be min <= default <= max, not {self.min} <= {self.default} <= {self.max}")
        return self


class Sizes(_Row):
    """Sides of a picture in pixels."""

    default: tuple[int, int]
    """Width and height."""
    min: int = Field(ge=16)
    max: int = Field(le=4096)
    multiple_of: int = Field(ge=1)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        sides = {"min": self.min, "max": self.max, "default width": self.default[0], "default height": self.default[1]}
        wrong = [name for name, side in sides.items() if side % self.multiple_of]
        if wrong:
            raise ValueError(f"{', '.join(wrong)} must be a multiple of multiple_of = {self.multiple_of}")
        if not all(self.min <= side <= self.max for side in self.default):
            raise ValueError(f"default must lie within {self.min} to {self.max}")
        return self


class Component(_Row):
    """A part of the pipeline that lives in another repository."""

    hub: str
    cls: str = Field(alias="class", pattern=r"^(transformers|diffusers)\.\w+$")
    options: dict[str, Any] = {}


class Weights(_Row):
    """Where weights come from: a folder below the models folder, or a repository of the hub."""

    source: str = ""
    """Path, relative to the models folder or absolute."""
    hub: str = ""
    """`owner/name`."""
    revision: str = ""
    """Commit or tag of the hub's repository; empty means its main branch."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if bool(self.source) == bool(self.hub):
            raise ValueError("give either source (a folder) or hub (owner/name)")
        return self

    @property
    def place(self) -> str:
        """The source in words, for people."""
        return self.source or "@".join(filter(None, (self.hub, self.revision)))


class ModelRow(Weights):
    """One model of the catalog."""

    id: str = _Id
    display_name: str
    family: str
    """What the engine is chosen by."""
    license: str
    gated: bool = False
    """True if the hub asks for an accepted licence and a token."""
    strengths: str = Field(min_length=10)
    """What the model is good at, in words that a language model can judge by."""
    tags: tuple[str, ...] = ()
    capabilities: tuple[Capability, ...] = ("text_to_image",)
    steps: Span
    guidance: Span
    cfg: Literal["true", "embedded"] = "true"
    """`true`: guided by a second forward pass with the negative prompt. `embedded`: distilled into the weights."""
    size: Sizes
    schedulers: tuple[str, ...] = ()
    """Names offered; the first is the default. Empty: only the one saved with the weights."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Data type of the weights; `auto` is the device's."""
    max_tokens: int = Field(default=512, ge=8)
    """Text tokens that the longest encoder reads."""
    bytes: dict[Dtype, int]
    """Estimated bytes of the weights by data type."""
    components: dict[str, Component] = {}
    exclusive: bool = False
    """True if everything else leaves the device before this is loaded."""
    fallback: str = ""
    """Model that takes over when this one's pictures are unusable."""
    base: str = ""
    """Model whose weights this row shares; it then differs by its adapters."""
    adapters: tuple[str, ...] = ()
    """LoRA adapters that are always on."""
    untrained: bool = False
    """True if the weights are untrained and the pictures mean nothing."""
    default: bool = False
    """True for the model that is taken when nothing speaks for another."""

    @field_validator("bytes")
    @classmethod
    def _some_estimate(cls, value: dict[Dtype, int]) -> dict[Dtype, int]:
        if not value:
            raise ValueError(f"needs an estimate for at least one of {', '.join(_DTYPE_BYTES)}")
        return value

    @property
    def weights(self) -> str:
        """Id under which the weights are held: rows that differ only by adapters share one copy."""
        return self.base or self.id

    def estimated_bytes(self, dtype: Dtype) -> int:
        """Return the bytes of the weights in `dtype`, scaled from another type if the row does not say."""
        if dtype in self.bytes:
            return self.bytes[dtype]
        known, size = next(iter(self.bytes.items()))
        return size * _DTYPE_BYTES[dtype] // _DTYPE_BYTES[known]

    def can(self, capability: Capability) -> bool:
        """Tell whether the model has a capability."""
        return capability in self.capabilities


class AdapterRow(Weights):
    """One LoRA adapter of the catalog."""

    id: str = _Id
    base: str
    """Model whose weights it was trained on."""
    license: str
    strengths: str = ""


class Catalog:
    """Models and adapters by id, in catalog order."""

    def __init__(self, models: Sequence[ModelRow], adapters: Sequence[AdapterRow] = ()) -> None:
        self.models = {row.id: row for row in models}
        self.adapters = {row.id: row for row in adapters}

    def get(self, model_id: str) -> ModelRow:
        """Return a model's row; raises `UnknownModel` with the nearest ids."""
        row = self.models.get(model_id)
        if row is None:
            raise UnknownModel("model", model_id, difflib.get_close_matches(model_id, self.models, n=3, cutoff=0.4))
        return row

    def default(self, offered: Collection[str]) -> ModelRow | None:
        """Return the default among the offered models, None if none is offered."""
        rows = [row for row in self.models.values() if row.id in offered]
        return next((row for row in rows if row.default), rows[0] if rows else None)


def load(
    user_file: Path | None = None,
    *,
    families: Collection[str],
    hubs: Mapping[str, str] | None = None,
    shipped: Path = SHIPPED,
) -> Catalog:
    """Read the shipped catalog and lay the user's over it, row by row and field by field.

    `families` are those that an engine exists for; `hubs` replaces the hub id of single models. Raises `CatalogError`
    with every mistake.
    """
    mistakes: list[str] = []
    models: dict[str, tuple[Path, int, dict[str, Any]]] = {}
    adapters: dict[str, tuple[Path, int, dict[str, Any]]] = {}
    for file in filter(None, (shipped, user_file)):
        tables = _tables(file, mistakes)
        _lay_over(models, file, tables.pop("model", []), mistakes)
        _lay_over(adapters, file, tables.pop("adapter", []), mistakes)
        mistakes += [f"{file.name}: {name}: unknown table; allowed are model, adapter" for name in tables]
    for model_id, hub in (hubs or {}).items():
        if model_id in models:
            models[model_id][2].update(hub=hub, revision="")
    rows = _parse(ModelRow, {key: (f, n, _inherit(raw, models)) for key, (f, n, raw) in models.items()}, mistakes)
    catalog = Catalog(rows, _parse(AdapterRow, adapters, mistakes))
    if not mistakes:
        mistakes = _cross_check(catalog, families)
    if mistakes:
        raise CatalogError("\n".join(mistakes))
    return catalog


def _tables(file: Path, mistakes: list[str]) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        mistakes.append(f"{file}: {error}")
        return {}


def _lay_over(into: dict[str, tuple[Path, int, dict[str, Any]]], file: Path, rows: object, mistakes: list[str]) -> None:
    if not isinstance(rows, list):
        mistakes.append(f"{file.name}: write rows as [[model]] and [[adapter]]")
        return
    seen: set[str] = set()
    for number, row in enumerate(rows, start=1):
        key = row.get("id", f"row {number}") if isinstance(row, dict) else f"row {number}"
        if not isinstance(row, dict) or not isinstance(key, str):
            mistakes.append(f"{file.name}: row {number}: id: must be a text")
            continue
        if key in seen:
            mistakes.append(f"{file.name}: row {number} ({key}): id: occurs twice in this file")
        seen.add(key)
        under = into[key][2] if key in into else {}
        into[key] = (file, number, {**under, **row})


_OWN = ("id", "default", "base")
"""Fields that a row does not take over from its base."""


def _inherit(raw: dict[str, Any], models: Mapping[str, tuple[Path, int, dict[str, Any]]]) -> dict[str, Any]:
    base = models.get(str(raw.get("base", "")))
    if base is None:
        return raw
    return {**{key: value for key, value in base[2].items() if key not in _OWN}, **raw}


def _parse(kind: type[R], rows: Mapping[str, tuple[Path, int, dict[str, Any]]], mistakes: list[str]) -> list[R]:
    parsed = []
    for key, (file, number, raw) in rows.items():
        try:
            parsed.append(kind.model_validate(raw))
        except ValidationError as error:
            mistakes += [f"{file.name}: row {number} ({key}): {_told(kind, each)}" for each in error.errors()]
    return parsed


def _told(kind: type[_Row], error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden" and len(error["loc"]) == 1:
        return f"{path}: unknown field; allowed are {', '.join(kind.model_fields)}"
    return f"{path}: {error['msg']} (got {error['input']!r:.80})" if path else str(error["msg"])


def _cross_check(catalog: Catalog, families: Collection[str]) -> list[str]:
    mistakes = []
    ids, adapters = ", ".join(catalog.models), ", ".join(catalog.adapters)
    for row in catalog.models.values():
        if row.family not in families:
            mistakes.append(f"model {row.id}: family: no engine for {row.family!r}; allowed are {', '.join(families)}")
        for field, other in (("fallback", row.fallback), ("base", row.base)):
            if other and (other not in catalog.models or other == row.id):
                mistakes.append(f"model {row.id}: {field}: {other!r} must be another model of the catalog: {ids}")
        mistakes += [
            f"model {row.id}: adapters: no adapter {each!r}; there are {adapters}"
            for each in row.adapters
            if each not in catalog.adapters
        ]
    defaults = [row.id for row in catalog.models.values() if row.default]
    if len(defaults) > 1:
        mistakes.append(f"default: only one model can be the default, not {', '.join(defaults)}")
    mistakes += [
        f"adapter {row.id}: base: no model {row.base!r}; there are {ids}"
        for row in catalog.adapters.values()
        if row.base not in catalog.models
    ]
    return mistakes
