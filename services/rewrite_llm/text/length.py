"""Make a text fit where there is room for so many characters."""

import re

from services.rewrite_llm.text.normalise import UNSPACED

_WORD = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")


def shorten(text: str, max_chars: int) -> str:
    """Return `text`, or what of it ends with a whole word within `max_chars`; a word that is longer is cut."""
    if len(text) <= max_chars:
        return text
    end = max((word.end() for word in _WORD.finditer(text) if word.end() <= max_chars), default=max_chars)
    return text[:end].rstrip(" ,;:、，；：")
