"""The building blocks of training texts, read from `text/*.toml`."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TEXT = Path(__file__).parent / "text"
RULE_TOPICS = Path(__file__).parents[2] / "services" / "rewrite_llm" / "selection" / "topics.toml"
_FIELD_TOPICS = {
    "landscape": ("landscape",),
    "portrait": ("portrait",),
    "poster": ("poster", "ui"),
    "logo": ("logo",),
    "general": ("general",),
}
FIELDS = ("landscape", "portrait", "poster", "logo", "general")
CATEGORIES = ("sexual", "minors", "violence", "drugs", "self_harm", "hate", "real_persons")

Phrases = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """A wording and its safe counterpart; `safe` is empty where there is none."""

    text: str
    safe: str


@dataclass(frozen=True, slots=True)
class Language:
    """One language: phrases by use. `fields[f]` holds lists named as in the file (`subjects`, `formats`…)."""

    code: str
    articles: Phrases
    people: Mapping[str, Phrases]
    requests: Phrases
    styles: Phrases
    fields: Mapping[str, Mapping[str, Phrases]]
    unsafe: Mapping[str, tuple[Pair, ...]]
    contexts: Phrases
    innocent: Mapping[str, tuple[Pair, ...]]
    topics: Mapping[str, tuple[tuple[Phrases, ...], ...]]
    """What rules take for a sign of each field: phrases, each a word after word, each with its alternatives."""
    injections: Phrases
    reassurances: Phrases

    @property
    def spaced(self) -> bool:
        """Whether words are parted by spaces."""
        return self.code not in {"ja", "zh"}


def load_languages(folder: Path = TEXT) -> tuple[Language, ...]:
    """Read every language file, ordered by code.

    Raises:
        KeyError: a section or list is missing from a file.
    """
    rows = tomllib.loads(RULE_TOPICS.read_text(encoding="utf-8"))["topic"]
    signs = {row["id"]: row["prompt"] for row in rows}
    return tuple(_language(path, signs) for path in sorted(folder.glob("??.toml")))


def split(text: str) -> Phrases:
    """Part a list at its semicolons."""
    return tuple(part.strip() for part in text.split(";") if part.strip())


def _language(path: Path, signs: Mapping[str, Mapping[str, list[str]]]) -> Language:
    data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    unsafe = data["unsafe"]
    return Language(
        code=path.stem,
        articles=split(data["articles"]),
        people={"w": split(data["women"]), "h": split(data["men"])},
        requests=split(data["requests"]),
        styles=split(data["styles"]),
        fields={field: {name: split(text) for name, text in data[field].items()} for field in FIELDS},
        unsafe={category: _pairs(unsafe[category]) for category in CATEGORIES},
        contexts=split(unsafe["contexts"]),
        innocent={field: _pairs(text) for field, text in data["innocent"].items()},
        topics={field: tuple(_signs(signs, ids, path.stem)) for field, ids in _FIELD_TOPICS.items()},
        injections=split(data["injection"]["lines"]),
        reassurances=split(data["injection"]["safety"]),
    )


def _signs(signs: Mapping[str, Mapping[str, list[str]]], ids: Phrases, code: str) -> Iterator[tuple[Phrases, ...]]:
    """Whole words only: outside English, a phrase that leaves its ending open is seldom a word."""
    for phrase in (phrase for id in ids for phrase in signs[id].get(code, ())):
        if code == "en" or "*" not in phrase:
            yield tuple(tuple(word.replace("*", "").split("|")) for word in phrase.split())


def _pairs(text: str) -> tuple[Pair, ...]:
    parted = (phrase.partition(">") for phrase in split(text))
    return tuple(Pair(before.strip(), after.strip()) for before, _, after in parted)
