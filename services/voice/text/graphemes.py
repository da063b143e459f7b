"""Where text may be cut without breaking what a reader sees as one character.

The main rules of Unicode Standard Annex 29: combining marks, joiners, emoji modifiers and flags stay together.
"""

import unicodedata

_JOINER = "\u200d"
_MARKS = {"Mn", "Mc", "Me"}


def is_boundary(text: str, at: int, start: int = 0) -> bool:
    """Tell whether `text` may be cut before position `at`, `start` being a place where it may."""
    if at <= 0 or at >= len(text):
        return True
    before, after = text[at - 1], text[at]
    if before == "\r" and after == "\n":
        return False
    if before == _JOINER or _extends(after):
        return False
    return not (_is_flag(before) and _is_flag(after) and _flags_before(text, at, start) % 2)


def _extends(character: str) -> bool:
    """Tell whether a character belongs to the one before it."""
    if character == _JOINER or unicodedata.category(character) in _MARKS:
        return True
    code = ord(character)
    return 0x1F3FB <= code <= 0x1F3FF or 0xE0020 <= code <= 0xE007F or 0x1160 <= code <= 0x11FF


def _is_flag(character: str) -> bool:
    return 0x1F1E6 <= ord(character) <= 0x1F1FF


def _flags_before(text: str, at: int, start: int) -> int:
    first = at
    while first > start and _is_flag(text[first - 1]):
        first -= 1
    return at - first
