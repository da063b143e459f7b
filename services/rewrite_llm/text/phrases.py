"""Find many phrases in a text at once.

A phrase is one or more words. A word may end in `*` (any ending) or begin with it (any beginning), and `a|b` means
either. Whole words only: "cock" is not in "cocktail". Where letters pulled apart were put together, words may run into
each other, and longer ones are found inside too. Scripts written without spaces (Chinese, Japanese) are matched
character by character, and so are emoji. Whole words are looked up in a dictionary and open ones letter by letter, for
as long as some phrase goes on: the time grows with the text, not with its square, and hardly with the number of
phrases.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from itertools import product
from typing import Generic, TypeVar

from services.rewrite_llm.text.normalise import PICTURES, UNSPACED, View, fold

_TOKEN = re.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}]+")
_TOKEN_OR_PICTURE = re.compile(rf"[{UNSPACED}{PICTURES}]|[^\W_{UNSPACED}]+")
_SHORTEST_INSIDE = 4  # shorter words occur by chance in a run without word boundaries
_SHORTEST_BEGINNING_INSIDE = 5  # and shorter beginnings of words all the more
_ARTICLE = "a"  # what often stands before a word that is pulled apart, and then looks like its first letter

T = TypeVar("T")


class Open(Enum):
    """Where a word may go on."""

    NOWHERE = auto()
    AT_THE_END = auto()
    AT_THE_START = auto()


Word = tuple[str, Open]
Words = tuple[tuple[Word, ...], ...]
"""The alternatives at each position of a phrase."""


@dataclass(frozen=True, slots=True)
class Match(Generic[T]):
    """A phrase found: words `first` to `last` (exclusive), characters `start` to `end` of the view."""

    payload: T
    first: int
    last: int
    start: int
    end: int

    def overlaps(self, other: "Match[T]") -> bool:
        """Tell whether the two share a letter."""
        return self.start < other.end and other.start < self.end

    def lies_in(self, other: "Match[T]") -> bool:
        """Tell whether all its letters are the other's too."""
        return other.start <= self.start and self.end <= other.end

    def distance(self, other: "Match[T]") -> int:
        """Return the number of words between the two; 0 if they touch or overlap."""
        return max(self.first - other.last, other.first - self.last, 0)


class _Letters(Generic[T]):
    """Where one gets by the first letters of a word: the node of the word they are, and the letters that lead on."""

    __slots__ = ("node", "to")

    def __init__(self) -> None:
        self.node: _Node[T] | None = None
        self.to: dict[str, _Letters[T]] = {}

    def spell(self, word: str) -> "_Node[T]":
        """Return the node of `word`; make it if it is new."""
        at = self
        for letter in word:
            at = at.to.setdefault(letter, _Letters())
        at.node = at.node or _Node()
        return at.node

    def beginnings(self, word: str, start: int = 0) -> "Iterator[tuple[_Node[T], int]]":
        """Yield the nodes of the words with which `word` goes on from `start`, and where they end."""
        to = self.to
        for end in range(start + 1, len(word) + 1):
            if (at := to.get(word[end - 1])) is None:
                return
            if at.node is not None:
                yield at.node, end
            to = at.to


class _Node(Generic[T]):
    """Where one gets by a word from another node: what ends here, and the words that lead on."""

    __slots__ = ("backwards", "forwards", "payloads", "whole")

    def __init__(self) -> None:
        self.payloads: list[T] = []
        self.whole: dict[str, _Node[T]] = {}
        self.forwards: _Letters[T] | None = None
        """Words that are open at the end."""
        self.backwards: _Letters[T] | None = None
        """Words that are open at the start, spelt from the end."""

    def child(self, word: Word) -> "_Node[T]":
        """Return the node that `word` leads to; make it if it is new."""
        text, openness = word
        match openness:
            case Open.NOWHERE:
                return self.whole.setdefault(text, _Node())
            case Open.AT_THE_END:
                self.forwards = self.forwards or _Letters()
                return self.forwards.spell(text)
            case Open.AT_THE_START:
                self.backwards = self.backwards or _Letters()
                return self.backwards.spell(text[::-1])

    def following(self, word: str) -> "list[_Node[T]]":
        """Return the nodes that a word of a text leads to."""
        found = [self.whole[word]] if word in self.whole else []
        if self.forwards is not None:
            found += [node for node, _ in self.forwards.beginnings(word)]
        if self.backwards is not None:
            found += [node for node, _ in self.backwards.beginnings(word[::-1])]
        return found


class Lexicon(Generic[T]):
    """Phrases, each with a payload that is handed back when the phrase is found: a tree of words."""

    def __init__(self, phrases: Iterable[tuple[str, T]]) -> None:
        self._root: _Node[T] = _Node()
        for phrase, payload in phrases:
            for words in product(*parse(phrase)):
                node = self._root
                for word in words:
                    node = node.child(word)
                node.payloads.append(payload)
        self._inner_lengths = {len(word) for word in self._root.whole if len(word) >= _SHORTEST_INSIDE}

    def find(self, view: View) -> Iterator[Match[T]]:
        """Yield every occurrence of every phrase, overlapping ones too."""
        words, spans = _tokens(view.text, pictured=view.pictured)
        for first, word in enumerate(words):
            for node in self._root.following(word):
                for last, payload in _paths(node, words, first + 1):
                    yield Match(payload, first, last, spans[first][0], spans[last - 1][1])
            if (begin := spans[first][0]) in view.solid:
                for node, start, end in self._inside(word):
                    for payload in node.payloads:
                        yield Match(payload, first, first + 1, begin + start, begin + end)

    def _inside(self, run: str) -> Iterator[tuple[_Node[T], int, int]]:
        """Yield the words that a run of letters may hold besides being one, and where they begin and end."""
        for start in range(len(run)):
            for node, end in self._going_on(run, start):
                if (start, end) != (0, len(run)):
                    yield node, start, end
        if run.startswith(_ARTICLE):
            yield from ((node, len(_ARTICLE), len(run)) for node in self._root.following(run[len(_ARTICLE) :]))

    def _going_on(self, run: str, start: int) -> Iterator[tuple[_Node[T], int]]:
        """Yield the words, too long for chance, with which a run goes on from `start`, and where they end."""
        for end in (start + length for length in self._inner_lengths if start + length <= len(run)):
            if (node := self._root.whole.get(run[start:end])) is not None:
                yield node, end
        if self._root.forwards is not None:
            found = self._root.forwards.beginnings(run, start)
            yield from ((node, end) for node, end in found if end - start >= _SHORTEST_BEGINNING_INSIDE)


@lru_cache(maxsize=16)  # several lexicons look at the same text one after the other
def _tokens(text: str, *, pictured: bool) -> tuple[tuple[str, ...], tuple[tuple[int, int], ...]]:
    """Return the words of a text and where they stand."""
    found = tuple((_TOKEN_OR_PICTURE if pictured else _TOKEN).finditer(text))
    return tuple(each.group() for each in found), tuple(each.span() for each in found)


def _paths(node: _Node[T], words: Sequence[str], at: int) -> Iterator[tuple[int, T]]:
    """Yield where phrases end that lead to `node` with the words before number `at`, and on, and their payloads."""
    for payload in node.payloads:
        yield at, payload
    if at < len(words):
        for child in node.following(words[at]):
            yield from _paths(child, words, at + 1)


def parse(phrase: str) -> Words:
    """Return the alternatives at each position of `phrase`.

    Raises:
        ValueError: the phrase is empty, or has an empty word.
    """
    parsed = tuple(word for part in phrase.split() for word in _positions(part))
    if not parsed:
        raise ValueError(f"the phrase {phrase!r} has no word")
    return parsed


def _positions(part: str) -> Iterator[tuple[Word, ...]]:
    """Split "don't" or an unspaced script into the words that the tokens of a text will be."""
    alternatives = part.split("|")
    tokens = [_TOKEN_OR_PICTURE.findall(fold(each)) for each in alternatives]
    if not all(tokens) or (len(alternatives) > 1 and any(len(each) > 1 for each in tokens)):
        raise ValueError(f"each alternative of {part!r} must be one word")
    if len(alternatives) > 1:
        yield tuple((found[0], _openness(each)) for each, found in zip(alternatives, tokens, strict=True))
        return
    *others, last = tokens[0]
    for other in others:
        yield ((other, Open.NOWHERE),)
    yield ((last, _openness(part)),)


def _openness(word: str) -> Open:
    if word.startswith("*"):
        return Open.AT_THE_START
    return Open.AT_THE_END if word.endswith("*") else Open.NOWHERE
