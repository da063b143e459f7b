"""What the router can judge by itself while rewrite_llm is away: words against words.

Deliberately little. It picks the model whose tags and strengths share most words with the prompt, and it refuses the
one category that is never allowed. Everything finer is rewrite_llm's.
"""

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

from services.router.domain import Finding, Model, Screening, Selection, Source, Verdict

_WORD = re.compile(r"\w+")
_TAG_POINTS = 3
_COMMON = frozenset(
    _WORD.findall(
        """a an and any are as at be best by can for from good has have in into is it its like make of on or other
        picture pictures image images model prompt prompts style that the their they this to very well when
        which with""",
    )
)
"""Words that say nothing about which model suits."""
_UNSCREENED = (
    "the prompt was screened for the worst only,"
    " and finished pictures are checked only if imagegen has a model for that"
)


def words(text: str) -> frozenset[str]:
    """Return the words of `text` without accents, invisible characters and upper case."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return frozenset(_WORD.findall("".join(c for c in decomposed if unicodedata.category(c) not in {"Mn", "Cf"})))


def _topics(text: str) -> frozenset[str]:
    return frozenset(word.removesuffix("s") for word in words(text) - _COMMON)


def select(prompt: str, candidates: Sequence[Model], default: str) -> Selection:
    """Choose the candidate that shares most words with the prompt; `default` if none stands out."""
    asked = _topics(prompt)
    points = {each.id: _points(asked, each) for each in candidates}
    total = sum(points.values())
    best, second = [*sorted(points.values(), reverse=True), 0][:2]
    shares = {model: got / total if total else 1 / len(points) for model, got in points.items()}
    if best == second:
        reason = f"no model's words stand out in the prompt; {default} is the default"
        return Selection(default, shares, Source.RULES, defaulted=True, reason=reason)
    choice = max(points, key=lambda model: points[model])
    return Selection(choice, shares, Source.RULES, reason=f"the prompt has most words in common with {choice}")


def _points(asked: frozenset[str], model: Model) -> int:
    tags, others = _said_of(model.tags, model.strengths)
    return _TAG_POINTS * len(asked & tags) + len(asked & others)


@lru_cache(maxsize=256)  # catalogs change seldom
def _said_of(tags: tuple[str, ...], strengths: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the topics of a model's tags, and those that only its strengths name."""
    tagged = _topics(" ".join(tags))
    return tagged, _topics(strengths) - tagged


@dataclass(frozen=True, slots=True)
class _Words:
    whole: frozenset[str]
    beginnings: tuple[str, ...]

    @classmethod
    def of(cls, entries: Iterable[str]) -> Self:
        listed = tuple(entries)
        beginnings = tuple(entry.rstrip("*") for entry in listed if entry.endswith("*"))
        return cls(frozenset(entry for entry in listed if not entry.endswith("*")), beginnings)

    def found_in(self, text: frozenset[str]) -> bool:
        return bool(self.whole & text) or any(word.startswith(self.beginnings) for word in text)


class Blocklist:
    """Refuses what is never allowed, whoever asks and whatever is down."""

    def __init__(self, minors: Iterable[str], sexual: Iterable[str], *, rule_id: str, category: str) -> None:
        self._minors = _Words.of(minors)
        self._sexual = _Words.of(sexual)
        self._finding = Finding(category, rule_id, Verdict.BLOCK)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the list at `path`; raises `OSError`, `KeyError` or `tomllib.TOMLDecodeError`."""
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return cls(table["minors"], table["sexual"], rule_id=table["rule_id"], category=table["category"])

    def screen(self, prompt: str, why: str) -> Screening:
        """Judge `prompt` in place of rewrite_llm, which could not because of `why`."""
        text = words(prompt)
        blocked = self._minors.found_in(text) and self._sexual.found_in(text)
        return Screening(
            verdict=Verdict.BLOCK if blocked else Verdict.ALLOW,
            source=Source.RULES,
            findings=(self._finding,) if blocked else (),
            degraded=f"{why}; {_UNSCREENED}",
            complete=False,
        )
