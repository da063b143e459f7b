"""From text to the tokens that XTTS reads."""

import re
import sys
from collections.abc import Iterator
from typing import Any

from services.voice.engines.xtts import languages

_SPACES = re.compile(r"\s+")


class Reader:
    """Reads text with coqui-tts's tokenizer; `limit` is the number of tokens the model takes at once."""

    def __init__(self, tokenizer: Any, limit: int) -> None:
        tokenizer.char_limits = dict.fromkeys(tokenizer.char_limits, sys.maxsize)  # else it logs what people say
        self._tokenizer = tokenizer
        self._limit = limit

    def read(self, text: str, tag: str) -> Iterator[tuple[int, ...]]:
        """Yield the tokens of the text, in as many parts as it takes to keep each within the limit.

        A text within the catalog's cap of characters may still be too much: digits are read as words. It is halved at
        the space nearest to its middle.
        """
        tokens = self._tokens(text.strip().lower(), languages.code(tag))
        if len(tokens) <= self._limit or len(text) < 2:
            yield tuple(tokens[: self._limit])
            return
        at = _middle(text)
        yield from self.read(text[:at], tag)
        yield from self.read(text[at:], tag)

    def _tokens(self, text: str, code: str) -> list[int]:
        """Return the tokens of a text; without numbers spelt out where num2words gives up: Hindi, very long numbers."""
        try:
            return list(self._tokenizer.encode(text, code))
        except (ArithmeticError, LookupError, ValueError, NotImplementedError):
            # num2words has no error of its own; each of its languages gives up in its own way: NotImplementedError
            # (Hindi), OverflowError and decimal.InvalidOperation (too large), IndexError and KeyError (no word for it),
            # ValueError (more digits than int() reads)
            return list(self._tokenizer.tokenizer.encode(f"[{code}]{text}".replace(" ", "[SPACE]")).ids)


def _middle(text: str) -> int:
    """Return the end of the white space nearest to the middle, or the middle itself."""
    middle = len(text) // 2
    ends = [match.end() for match in _SPACES.finditer(text.rstrip()) if match.start()]
    return min(ends, key=lambda end: abs(end - middle), default=middle)
