"""How a caption is spoken: which of several phrasings, and whether a detail is mentioned."""

import random
from collections.abc import Sequence

MEDIA = (
    "a picture of",
    "an illustration of",
    "a flat illustration of",
    "a drawing of",
    "a photo of",
    "an image of",
    "photo of",
)

_LEFT_OUT = 0.1
_COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "gray": ("gray", "grey"),
    "teal": ("teal", "turquoise", "cyan"),
    "purple": ("purple", "violet"),
}


class Voice:
    """Random choices of one caption; a `complete` voice leaves no detail out."""

    def __init__(self, rng: random.Random, complete: bool = False) -> None:
        self._rng = rng
        self._complete = complete

    def choice(self, options: Sequence[str]) -> str:
        """One of several phrasings."""
        return self._rng.choice(options)

    def shuffle(self, items: list[str]) -> None:
        """Bring the items into any order."""
        self._rng.shuffle(items)

    def chance(self, share: float) -> bool:
        """Whether a manner of speaking is used, in `share` of the captions."""
        return self._rng.random() < share

    def mentions(self, share: float) -> bool:
        """Whether an optional detail is mentioned: in `share` of the captions, always by a complete voice."""
        return self._complete or self.chance(share)

    def kept(self, *details: str | None) -> list[str]:
        """The details that are there and not left out."""
        return [detail for detail in details if detail and self.mentions(1 - _LEFT_OUT)]

    def colour(self, name: str) -> str:
        """A word for a palette colour."""
        return self.choice(_COLOUR_WORDS.get(name, (name,)))


def listing(items: Sequence[str]) -> str:
    """Items joined by commas and a last "and"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def article(phrase: str) -> str:
    """The phrase with "a" or "an"."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"
