"""Cuts text into sentences as it arrives: linear, streaming, and without losing a character.

Every piece keeps the white space after it, so that the pieces joined are the text. When in doubt two sentences stay
together: a missing pause is heard less than a false one. A sentence longer than the engine takes is cut at a comma, a
space or, if there is neither, between two characters as people see them (never inside an emoji).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from services.voice.text.graphemes import is_boundary
from services.voice.text.languages import Language

_CLOSERS = "\"'”’»›)\\]}」』】〉》）"
_END = re.compile(
    rf"(?P<wide>[。！？｡।॥۔؟።]+[{_CLOSERS}。！？]*\s*)"  # ends a sentence whatever follows
    rf"|(?<![.!?…])(?P<stop>[.!?…]++)[{_CLOSERS}]*+\s+"  # needs a look at both sides
    r"|\n[^\S\n]*\n\s*"  # an empty line
)
_LAST_WORD = re.compile(r"[\w.\-]*$")
_LATIN_OPENERS = "\"'“‘«‹([{¿¡„-–—*_ "
_PAUSE = re.compile(rf"(?:[，、；：،؛—–]+[{_CLOSERS}]*\s*|[,;:]+[{_CLOSERS}]*\s+)")
_SPACE = re.compile(r"\s+")
_INNER_BREAK = re.compile(r"[,;:/?&=._-]+")  # only where there is nothing else: in numbers, addresses, chains of words


@dataclass(frozen=True, slots=True)
class Sentence:
    """A piece of the text, white space after it included."""

    text: str
    offset: int
    """Position in the whole text, in code points."""
    complete: bool
    """False if it was cut because it is too long, and the sentence goes on in the next piece."""


class Splitter:
    """One text. `feed` it in pieces of any size, then `flush`; at most `limit` characters come out at a time."""

    def __init__(self, language: Language, *, limit: int) -> None:
        self._language = language
        self._limit = limit
        self._text = ""
        self._offset = 0

    @property
    def limit(self) -> int:
        """Characters that come out at a time, at most."""
        return self._limit

    def feed(self, text: str) -> Iterator[Sentence]:
        """Yield the sentences that are complete with `text`. Exhaust it before the next call."""
        return self._drain(text, final=False)

    def flush(self) -> Iterator[Sentence]:
        """Yield all that is left."""
        return self._drain("", final=True)

    def _drain(self, text: str, *, final: bool) -> Iterator[Sentence]:
        whole, start = self._text + text, 0
        while start < len(whole) and (cut := self._cut(whole, start, final=final)):
            end, complete = cut
            yield Sentence(whole[start:end], self._offset + start, complete)
            start = end
        self._text = whole[start:]
        self._offset += start

    def _cut(self, text: str, start: int, *, final: bool) -> tuple[int, bool] | None:
        """Return where the piece that begins at `start` ends and whether its sentence does; None to wait for more."""
        horizon = start + self._limit
        for match in _END.finditer(text, start, min(len(text), horizon)):
            end = match.end()
            if end == len(text) and not final:
                break  # what comes next decides
            if not text[start:end].strip():
                continue
            if match["stop"] is None or self._ends(text, start, match):
                return end, True
        if len(text) > horizon or (len(text) == horizon and not final):
            return _soft_cut(text, start, horizon), False
        return (len(text), True) if final else None

    def _ends(self, text: str, start: int, match: re.Match[str]) -> bool:
        """Tell whether a full stop, question or exclamation mark with white space after it ends the sentence."""
        following = text[match.end() : match.end() + 8].lstrip(_LATIN_OPENERS)[:1]
        if following.islower():
            return False
        if match["stop"] != ".":
            return True
        word = _word_before(text, start, match.start())
        if word.isdigit():
            return not (self._language.ordinals or _opens(text, start, match.start() - len(word)))
        if word.lower() in self._language.may_end:
            return following.isupper()
        return not (word.lower() in self._language.never or _is_initial(word))


def halves(sentence: Sentence) -> tuple[Sentence, Sentence]:
    """Return a sentence of two characters or more in two pieces, for what grew too long when it was made speakable."""
    text = sentence.text
    at = _soft_cut(text, 0, max(1, 2 * len(text) // 3))
    return Sentence(text[:at], sentence.offset, False), Sentence(text[at:], sentence.offset + at, sentence.complete)


def _word_before(text: str, start: int, end: int) -> str:
    found = _LAST_WORD.search(text, max(start, end - 32), end)
    return found.group() if found else ""


def _is_initial(word: str) -> bool:
    """`J` of `J. Smith`, `U.S` of `U.S.`: single letters between full stops."""
    return bool(word) and all(len(part) == 1 and part.isalpha() for part in word.split("."))


def _opens(text: str, start: int, at: int) -> bool:
    """Tell whether nothing but white space stands between `start` and `at`, as before the number of a list's item."""
    return not text[max(start, at - 8) : at].strip() and at - start <= 8


def _soft_cut(text: str, start: int, horizon: int) -> int:
    """Return the best place to cut before `horizon`, in the second half: the last pause, space or other break."""
    middle = start + (horizon - start) // 2
    for kind in (_PAUSE, _SPACE, _INNER_BREAK):
        if found := [match.end() for match in kind.finditer(text, middle, horizon)]:
            return found[-1]
    return next((at for at in range(horizon, middle, -1) if is_boundary(text, at, start)), horizon)
