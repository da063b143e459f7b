"""Reads the catalog: the shipped `catalog.toml` with the user's own file over it, checked before anything starts."""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from servekit.settings import blaming
from services.imagegen.catalog import Abilities, AdapterRow, Catalog, ModelRow
from services.imagegen.places import hub_id
from services.imagegen.settings import ImagegenSettings

SHIPPED = Path(__file__).with_name("catalog.toml")

R = TypeVar("R", bound=BaseModel)
_Raw = tuple[Path, int, dict[str, Any]]
"""A row as it is written: its file, its number there, and its fields."""


class CatalogError(ValueError):
    """A catalog file is wrong; the message lists every mistake with file, row, field and what is allowed."""


def load(
    user_file: Path | None = None,
    *,
    families: Mapping[str, Abilities],
    hubs: Mapping[str, str] | None = None,
    shipped: Path = SHIPPED,
) -> Catalog:
    """Read the shipped catalog and lay the user's over it, row by row and field by field.

    `families` are those that an engine exists for; `hubs` replaces the hub id of single models. Raises `CatalogError`
    with every mistake.
    """
    mistakes: list[str] = []
    models: dict[str, _Raw] = {}
    adapters: dict[str, _Raw] = {}
    for file in filter(None, (shipped, user_file)):
        tables = _tables(file, mistakes)
        _lay_over(models, file, tables.pop("model", []), mistakes)
        _lay_over(adapters, file, tables.pop("adapter", []), mistakes)
        mistakes += [f"{file.name}: {name}: unknown table; allowed are model, adapter" for name in tables]
    for model_id, hub in (hubs or {}).items():
        if model_id in models:
            models[model_id][2].update(hub=hub, revision="")
    rows = _parse(ModelRow, _inherited(models, mistakes), mistakes)
    catalog = Catalog(rows, _parse(AdapterRow, adapters, mistakes))
    if not mistakes:
        where = {key: f"{file.name}: row {number} ({key})" for key, (file, number, _) in {**models, **adapters}.items()}
        mistakes = _cross_check(catalog, families, where)
    if mistakes:
        raise CatalogError("\n".join(mistakes))
    return catalog


def configured(settings: ImagegenSettings, families: Mapping[str, Abilities]) -> Catalog:
    """Return the catalog that the settings describe; raises `WrongSettings`."""
    with blaming(settings, "logo_sdxl_model_id"):
        hubs = {"logo_sdxl": hub_id(settings.logo_sdxl_model_id)} if settings.logo_sdxl_model_id else {}
    with blaming(settings, "catalog_file"):
        return load(settings.catalog_file, families=families, hubs=hubs)


def _tables(file: Path, mistakes: list[str]) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        mistakes.append(f"{file}: {error}")
        return {}


def _lay_over(into: dict[str, _Raw], file: Path, rows: object, mistakes: list[str]) -> None:
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


def _inherited(models: Mapping[str, _Raw], mistakes: list[str]) -> dict[str, _Raw]:
    """Return the rows with what they take over from their bases, without those whose base is a mistake."""
    bases = {key: raw for key, (_, _, raw) in models.items() if not raw.get("base")}
    rows = {}
    for key, (file, number, raw) in models.items():
        base = str(raw.get("base") or key)
        if base in bases:
            rows[key] = (file, number, {**_left(bases[base]), **raw})
        else:
            allowed = f"must be another model with weights of its own: {_listed(bases)}"
            mistakes.append(f"{file.name}: row {number} ({key}): base: {base!r} {allowed}")
    return rows


def _left(base: dict[str, Any]) -> dict[str, Any]:
    """Return what a base leaves to the rows that share its weights."""
    return {field: value for field, value in base.items() if field not in _OWN}


def _parse(kind: type[R], rows: Mapping[str, _Raw], mistakes: list[str]) -> list[R]:
    parsed = []
    for key, (file, number, raw) in rows.items():
        try:
            parsed.append(kind.model_validate(raw))
        except ValidationError as error:
            mistakes += [f"{file.name}: row {number} ({key}): {_told(kind, each)}" for each in error.errors()]
    return parsed


def _told(kind: type[BaseModel], error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden" and len(error["loc"]) == 1:
        return f"{path}: unknown field; allowed are {', '.join(kind.model_fields)}"
    return f"{path}: {error['msg']} (got {error['input']!r:.80})" if path else str(error["msg"])


def _cross_check(catalog: Catalog, families: Mapping[str, Abilities], where: Mapping[str, str]) -> list[str]:
    """Return what is wrong between rows, and between rows and engines. `where` gives each row's place by id."""
    mistakes = []
    for row in catalog.models.values():
        found = [*_family_mistakes(row, families), *_decoder_mistakes(row, catalog), *_adapter_mistakes(row, catalog)]
        if row.fallback and (row.fallback not in catalog.models or row.fallback == row.id):
            found.append(f"fallback: {row.fallback!r} must be another model of the catalog: {_listed(catalog.models)}")
        mistakes += [f"{where[row.id]}: {each}" for each in found]
    defaults = [row.id for row in catalog.models.values() if row.default]
    if len(defaults) > 1:
        mistakes.append(f"default: only one model can be the default, not {', '.join(defaults)}")
    bases = [row.id for row in catalog.models.values() if not row.base]
    mistakes += [
        f"{where[row.id]}: base: {row.base!r} must be a model with weights of its own: {_listed(bases)}"
        for row in catalog.adapters.values()
        if row.base not in bases
    ]
    return mistakes


def _family_mistakes(row: ModelRow, families: Mapping[str, Abilities]) -> list[str]:
    abilities = families.get(row.family)
    if abilities is None:
        return [f"family: no engine for {row.family!r}; allowed are {', '.join(families)}"]
    mistakes = []
    if unknown := [each for each in row.schedulers if each not in abilities.schedulers]:
        mistakes.append(
            f"schedulers: {row.family} has no {_listed(unknown)}; allowed are {_listed(abilities.schedulers)}"
        )
    if beyond := [each for each in row.capabilities if each not in abilities.capabilities]:
        allowed = _listed(sorted(abilities.capabilities))
        mistakes.append(f"capabilities: {row.family} cannot do {_listed(beyond)}; allowed are {allowed}")
    if row.refiner is not None and not abilities.refines:
        mistakes.append(f"refiner: {row.family} takes none")
    if row.tiny_vae is not None and not abilities.decodes_tiny:
        mistakes.append(f"tiny_vae: {row.family} takes none")
    if row.adapters and "adapters" not in abilities.capabilities:
        mistakes.append(f"adapters: {row.family} takes none")
    mistakes += [f"{field}: {row.family} is guided to the end; allowed is 1" for field in _cut_short(row, abilities)]
    return mistakes


def _decoder_mistakes(row: ModelRow, catalog: Catalog) -> list[str]:
    """Return the fields that ask for a tiny autoencoder where the row's weights have none."""
    base = catalog.models.get(row.weights, row)
    wanted = {"decoder": row.decoder} | {f"{name}.decoder": usual.decoder for name, usual in row.tiers.items()}
    missing = [field for field, decoder in wanted.items() if decoder == "tiny" and base.tiny_vae is None]
    return [f"{field}: {base.id} has no tiny_vae, so allowed is full" for field in missing]


def _adapter_mistakes(row: ModelRow, catalog: Catalog) -> list[str]:
    """Return the adapters that a row wears and that there are not, or that belong to other weights."""
    fitting = _listed(each.id for each in catalog.adapters.values() if each.base == row.weights) or "none"
    mistakes = []
    for name in row.adapters:
        adapter = catalog.adapters.get(name)
        if adapter is None:
            mistakes.append(f"adapters: no adapter {name!r}; there are {_listed(catalog.adapters)}")
        elif adapter.base != row.weights:
            others = f"is for the weights of {adapter.base}, not of {row.weights}"
            mistakes.append(f"adapters: {name!r} {others}; allowed are {fitting}")
    return mistakes


def _cut_short(row: ModelRow, abilities: Abilities) -> list[str]:
    """Return the fields that end guidance before the last step where the engine cannot."""
    shares = {"guided": row.guided}
    shares |= {f"{name}.guided": usual.guided for name, usual in row.tiers.items()}
    return [field for field, share in shares.items() if share < 1 and not abilities.ends_guidance]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
