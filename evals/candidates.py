"""Two sets of candidates, read from imagegen's catalog, and which of them suits each field."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.dataset import FieldName
from services.rewrite_llm.domain import Candidate

CATALOG = Path(__file__).parents[1] / "services" / "imagegen" / "catalog.toml"

_SUITS: Mapping[str, Mapping[FieldName, str]] = {
    "sketch": {
        "general": "sketch",
        "landscape": "sketch_landscape",
        "portrait": "sketch_portrait",
        "poster": "sketch_poster",
        "logo": "sketch_logo",
    },
    "studio": {
        "general": "flux_dev",
        "landscape": "flux_dev",
        "portrait": "realvis_xl",
        "poster": "sd3_medium",
        "logo": "logo_sdxl",
    },
}
SETS = tuple(_SUITS)


@dataclass(frozen=True, slots=True)
class CandidateSet:
    """Candidates, and the id that suits each field; `general`'s is the default."""

    candidates: tuple[Candidate, ...]
    suits: Mapping[FieldName, str]


def load_set(name: str, catalog: Path = CATALOG) -> CandidateSet:
    """The set `sketch` (bundled models) or `studio` (large ones).

    Raises:
        KeyError: there is no such set, or the catalog lacks one of its rows.
    """
    suits = _SUITS[name]
    rows: dict[str, dict[str, Any]] = {
        row["id"]: row for row in tomllib.loads(catalog.read_text(encoding="utf-8"))["model"]
    }
    ids = sorted(set(suits.values()))
    candidates = tuple(Candidate(id, rows[id]["strengths"], tuple(rows[id]["tags"])) for id in ids)
    return CandidateSet(candidates, suits)
