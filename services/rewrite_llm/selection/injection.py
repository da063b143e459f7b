"""Leave out what speaks to the machine instead of describing a picture."""

import re
import tomllib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from services.rewrite_llm.selection.names import Names
from services.rewrite_llm.text.normalise import CLAUSE_ENDS, views
from services.rewrite_llm.text.phrases import Lexicon

_CLAUSE = re.compile(f"[^{CLAUSE_ENDS}]+")
_WORD = re.compile(r"\w+")
_CLOSING = re.compile(r"</\s*(?:prompt|text|input|user|system|instructions?)\s*>|<\|im_end\|>", re.IGNORECASE)
"""What would end the prompt if it were not data."""
_SHORT_ORDER = 3
"""Words of an order that names no target, at most."""
_SHORT_CLAIM = 5
"""Words of an order without a verb, at most."""
_SHORT_REST = 2
"""Words that, cut from an order, are part of it (a letter to answer with, a role), at most."""


class Kind(Enum):
    """What a phrase is to an order; the values are the keys of the file."""

    ORDER = "phrases"
    VERB = "verbs"
    TARGET = "targets"
    MODEL = "models"
    JOINT = "joints"
    NAME = "names"


_ABOUT = frozenset({Kind.TARGET, Kind.MODEL, Kind.NAME})
"""What an order may be about."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A phrase at characters `start` to `end` of the text."""

    kind: Kind
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Clause:
    """Characters `start` to `end` of a text, between two signs of punctuation, and what stands there."""

    text: str
    start: int
    end: int
    marks: list[Mark] = field(default_factory=list)

    def is_order(self, *, first: bool) -> bool:
        """Tell whether something here speaks to the machine; what comes first describes, if in doubt."""
        kinds = {mark.kind for mark in self.marks}
        if Kind.ORDER in kinds or (Kind.VERB in kinds and kinds & _ABOUT):
            return True
        words = list(_WORD.finditer(self.text, self.start, self.end))
        if Kind.MODEL in kinds and not first and len(words) <= _SHORT_CLAIM:
            return True
        return len(words) <= _SHORT_ORDER and bool(words) and self._begins_with_verb(words[0].start())

    def described(self) -> Iterator[str]:
        """Yield the parts of an order, cut at verbs and at words such as "and", that are not part of it."""
        for part in self._parts():
            if all(mark.kind in {Kind.JOINT, Kind.NAME} for mark in part.marks) and part.length() > _SHORT_REST:
                yield part.without_names()

    def _parts(self) -> "list[Clause]":
        inner = {at for mark in self.marks if mark.kind is not Kind.NAME for at in range(mark.start + 1, mark.end)}
        cuts = {mark.start for mark in self.marks if mark.kind in {Kind.VERB, Kind.JOINT}} - inner
        parts = [Clause(self.text, start, end) for start, end in pairwise(sorted({self.start, *cuts, self.end}))]
        _hand_out(self.marks, parts)
        return parts

    def without_names(self) -> str:
        """Return the text without names and with single spaces."""
        rest, at = [], self.start
        for name in sorted((each for each in self.marks if each.kind is Kind.NAME), key=lambda each: each.start):
            rest.append(self.text[at : max(at, name.start)])
            at = max(at, name.end)
        return " ".join(" ".join([*rest, self.text[at : self.end]]).split())

    def length(self) -> int:
        """Return how many words there are, names not counted."""
        return len(_WORD.findall(self.without_names()))

    def _begins_with_verb(self, at: int) -> bool:
        return any(mark.kind is Kind.VERB and mark.start == at for mark in self.marks)


class InjectionFilter:
    """Drops the parts of a prompt that give orders about the choice, and the names of models."""

    def __init__(self, path: Path) -> None:
        """Read the phrases; raises `ValueError` if one is empty or the file names an unknown kind."""
        listed = tomllib.loads(path.read_text(encoding="utf-8"))
        self._phrases = Lexicon((phrase, Kind(key)) for key, phrases in listed.items() for phrase in phrases)
        self._names = lru_cache(maxsize=64)(Names)

    def clean(self, text: str, ids: Sequence[str] = ()) -> str:
        """Return the parts of `text` that describe; `text` itself if it holds no order and none of the `ids`.

        A text of nothing but orders keeps its words, so that there is something to read, but not the names.
        """
        clauses = self._clauses(_before_closing(text), self._names(tuple(ids)))
        orders = [clause.is_order(first=at == 0) for at, clause in enumerate(clauses)]
        if not any(orders) and not any(mark.kind is Kind.NAME for clause in clauses for mark in clause.marks):
            return _before_closing(text)
        kept = [part for at, order in enumerate(orders) for part in _kept(clauses[at], order, first=at == 0)]
        return ", ".join(kept) or ", ".join(filter(None, (clause.without_names() for clause in clauses)))

    def _clauses(self, text: str, names: Names) -> list[Clause]:
        clauses = [Clause(text, *clause.span()) for clause in _CLAUSE.finditer(text) if clause.group().strip()]
        _hand_out(self._marks(text, names), clauses)
        return clauses

    def _marks(self, text: str, names: Names) -> Iterator[Mark]:
        readings = views(text)
        for view in readings:
            for match in self._phrases.find(view):
                yield Mark(match.payload, *view.span(match.start, match.end))
        yield from (Mark(Kind.TARGET, *span) for span in names.spoken(readings[0]))
        yield from (Mark(Kind.NAME, *span) for span in names.written(readings))


def _before_closing(text: str) -> str:
    """Return what stands before a sign that pretends to end the prompt; all if that is nothing much."""
    closing = _CLOSING.search(text)
    if closing is None or len(_WORD.findall(text, 0, closing.start())) <= _SHORT_REST:
        return text
    return text[: closing.start()].rstrip(" .\n")


def _hand_out(marks: Iterable[Mark], clauses: Sequence[Clause]) -> None:
    """Give each clause the marks that lie in it."""
    starts = [clause.start for clause in clauses]
    for mark in marks:
        at = bisect_right(starts, mark.start) - 1
        if at >= 0 and mark.end <= clauses[at].end:
            clauses[at].marks.append(mark)


def _kept(clause: Clause, order: bool, *, first: bool) -> Iterator[str]:
    if order:
        yield from clause.described()
    elif clause.length() > (0 if first else 1):
        yield clause.without_names()
