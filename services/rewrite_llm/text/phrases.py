"""Find many phrases in a text at once.

A phrase is one or more words. A word may end in `*` (any ending) or begin with it (any beginning), and `a|b` means
either. Whole words only: "cock" is not in "cocktail". Scripts written without spaces (Chinese, Japanese) are matched
character by character. Looking a word up is a dictionary access, so the time depends on the text and hardly on the
number of phrases.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Generic, TypeVar

from services.rewrite_llm.text.normalise import View, fold

_UNSPACED = "\u3040-\u30ff\u3400-\u9fff"
_TOKEN = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
_SHORTEST_INSIDE = 4  # shorter words occur by chance in a run without word boundaries

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
        """Tell whether the two share a word."""
        return self.first < other.last and other.first < self.last

    def lies_in(self, other: "Match[T]") -> bool:
        """Tell whether all its words are the other's too."""
        return other.first <= self.first and self.last <= other.last

    def distance(self, other: "Match[T]") -> int:
        """Return the number of words between the two; 0 if they touch or overlap."""
        return max(self.first - other.last, other.first - self.last, 0)


class Lexicon(Generic[T]):
    """Phrases, each with a payload that is handed back when the phrase is found."""

    def __init__(self, phrases: Iterable[tuple[str, T]]) -> None:
        self._by_word: dict[Word, list[tuple[Words, T]]] = defaultdict(list)
        self._single: dict[str, list[T]] = defaultdict(list)
        for phrase, payload in phrases:
            parsed = parse(phrase)
            for word in parsed[0]:
                self._by_word[word].append((parsed[1:], payload))
                if len(parsed) == 1:
                    self._single[word[0]].append(payload)

    def find(self, view: View) -> Iterator[Match[T]]:
        """Yield every occurrence of every phrase, overlapping ones too."""
        if view.solid:
            yield from self._inside(view.text)
            return
        tokens = [(each.group(), each.start(), each.end()) for each in _TOKEN.finditer(view.text)]
        words = [text for text, _, _ in tokens]
        for first, word in enumerate(words):
            for rest, payload in self._starting(word):
                last = first + 1 + len(rest)
                if last <= len(words) and all(map(_accepts, rest, words[first + 1 : last])):
                    yield Match(payload, first, last, tokens[first][1], tokens[last - 1][2])

    def _starting(self, word: str) -> Iterator[tuple[Words, T]]:
        yield from self._by_word.get((word, Open.NOWHERE), ())
        for length in range(1, len(word) + 1):
            yield from self._by_word.get((word[:length], Open.AT_THE_END), ())
            yield from self._by_word.get((word[-length:], Open.AT_THE_START), ())

    def _inside(self, run: str) -> Iterator[Match[T]]:
        for word, payloads in self._single.items():
            at = run.find(word) if len(word) >= _SHORTEST_INSIDE else -(word != run)
            if at >= 0:
                yield from (Match(payload, 0, 1, at, at + len(word)) for payload in payloads)


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
    tokens = [_TOKEN.findall(fold(each)) for each in alternatives]
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


def _accepts(alternatives: tuple[Word, ...], word: str) -> bool:
    return any(_matches(*alternative, word) for alternative in alternatives)


def _matches(text: str, openness: Open, word: str) -> bool:
    match openness:
        case Open.AT_THE_END:
            return word.startswith(text)
        case Open.AT_THE_START:
            return word.endswith(text)
        case Open.NOWHERE:
            return word == text
