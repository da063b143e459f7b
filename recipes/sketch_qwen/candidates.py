"""Candidate sets to choose from: the catalog's own rows, and made-up ones that must be read to be known."""

import random
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipes.sketch_qwen.vocabulary import FIELDS, TEXT, split
from services.rewrite_llm.domain import Candidate

CATALOG = Path(__file__).parents[2] / "services" / "imagegen" / "catalog.toml"


@dataclass(frozen=True, slots=True)
class Choice:
    """Candidates, and which of them serves each field."""

    candidates: tuple[Candidate, ...]
    serving: Mapping[str, str]


class Candidates:
    """A source of candidate sets; all choices come from `rng`."""

    def __init__(self, rng: random.Random, *, catalog: Path = CATALOG, words: Path = TEXT / "candidates.toml") -> None:
        self._rng = rng
        data: dict[str, Any] = tomllib.loads(words.read_text(encoding="utf-8"))
        self._known = {name: known(name, catalog=catalog, words=words) for name in data["known"]}
        self._keywords = {field: split(text) for field, text in data["keywords"].items()}
        phrasing = data["phrasing"]
        self._sentences, self._pairs = split(phrasing["sentences"]), split(phrasing["pairs"])
        self._stems, self._suffixes = split(phrasing["stems"]), ("", *split(phrasing["suffixes"]))
        self._telling = float(phrasing["telling"])

    def draw(self) -> Choice:
        """One set: the bundled rows, the large ones, part of them, or made-up ones."""
        share = self._rng.random()
        if share < 0.48:
            return self._known["sketch"]
        if share < 0.62:
            return self._known["studio"]
        if share < 0.72:
            return self._part(self._known[self._rng.choice(("sketch", "studio"))])
        return self._made_up()

    def strengths(self, fields: Sequence[str]) -> str:
        """What a made-up candidate for one or two `fields` is said to be good at."""
        if len(fields) == 1:
            return self._rng.choice(self._sentences).format(k=self._listed(fields[0]))
        return self._rng.choice(self._pairs).format(a=self._listed(fields[0]), b=self._listed(fields[1]))

    def _part(self, choice: Choice) -> Choice:
        """Some specialists taken away; the general model serves their fields."""
        general = choice.serving["general"]
        kept = [each for each in choice.candidates if each.id == general or self._rng.random() < 0.6]
        ids = {each.id for each in kept}
        return Choice(tuple(kept), {field: id if id in ids else general for field, id in choice.serving.items()})

    def _made_up(self) -> Choice:
        """A general model and specialists for some of the fields, now and then for two at once."""
        groups: list[list[str]] = [["general"]]
        for field in self._rng.sample(FIELDS[:-1], self._rng.choice((1, 2, 3, 4, 4))):
            if self._rng.random() < 0.2:
                self._rng.choice(groups).append(field)
            else:
                groups.append([field])
        candidates: list[Candidate] = []
        serving: dict[str, str] = {}
        for group in groups:
            id = self._name(group, {each.id for each in candidates})
            candidates.append(Candidate(id, self.strengths(group)))
            serving.update(dict.fromkeys(group, id))
        general = serving["general"]
        return Choice(tuple(candidates), {field: serving.get(field, general) for field in FIELDS})

    def _name(self, fields: Sequence[str], taken: set[str]) -> str:
        while True:
            stem = self._rng.choice(self._stems)
            if self._rng.random() < self._telling:
                stem += self._rng.choice(("_", "-")) + fields[-1]
            name = stem + self._rng.choice(self._suffixes)
            if name not in taken:
                return name

    def _listed(self, field: str) -> str:
        words = self._keywords[field]
        return ", ".join(self._rng.sample(words, self._rng.randint(1, 6)))


def known(name: str, *, catalog: Path = CATALOG, words: Path = TEXT / "candidates.toml") -> Choice:
    """Rows of the image catalog: `sketch` (the bundled ones) or `studio` (the large ones).

    Raises:
        KeyError: the catalog lacks a row that the word file names.
    """
    data: dict[str, Any] = tomllib.loads(words.read_text(encoding="utf-8"))
    rows = {row["id"]: row["strengths"] for row in tomllib.loads(catalog.read_text(encoding="utf-8"))["model"]}
    served: dict[str, list[str]] = data["known"][name]
    candidates = tuple(Candidate(id, rows[id]) for id in sorted(served))
    return Choice(candidates, {field: id for id, fields in served.items() for field in fields})
