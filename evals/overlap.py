"""How alike two texts are: whether training data repeats a prompt of the evaluation."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping

_LENGTH = 3
NEAR = 0.7
"""Likeness from which a text counts as a near duplicate."""


def normalised(text: str) -> str:
    """Lower case, without accents, punctuation or repeated spaces."""
    folded = unicodedata.normalize("NFKD", text.casefold())
    kept = "".join(char for char in folded if not unicodedata.combining(char))
    return " ".join(re.sub(r"[^\w]+", " ", kept).split())


def grams(text: str) -> frozenset[str]:
    """Runs of three characters of the normalised text, its ends padded."""
    padded = f"  {normalised(text)} "
    return frozenset(padded[at : at + _LENGTH] for at in range(len(padded) - _LENGTH + 1))


def likeness(first: frozenset[str], second: frozenset[str]) -> float:
    """Jaccard index of two sets of runs, 0 to 1."""
    return len(first & second) / len(first | second)


class Index:
    """Finds, among known texts, the one most like another."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = tuple(texts)
        self._grams = tuple(grams(text) for text in self._texts)
        places: defaultdict[str, list[int]] = defaultdict(list)
        for place, found in enumerate(self._grams):
            for gram in found:
                places[gram].append(place)
        self._places: Mapping[str, list[int]] = dict(places)

    def nearest(self, text: str) -> tuple[float, str]:
        """The likeness and wording of the known text most like `text`; 0 and empty if it shares nothing with any."""
        asked = grams(text)
        shared: defaultdict[int, int] = defaultdict(int)
        for gram in asked:
            for place in self._places.get(gram, ()):
                shared[place] += 1
        if not shared:
            return 0.0, ""
        scored = ((count / (len(asked) + len(self._grams[place]) - count), place) for place, count in shared.items())
        best, place = max(scored)
        return best, self._texts[place]
