"""Makes text speakable, lightly, and remembers where each character came from.

Engines read numbers, units and symbols of their language by themselves. What they stumble over is removed or spelled
out here: invisible characters, markup of chat texts, the scheme of addresses, decomposed letters, abbreviations, digits
and letters of other widths, scripts and frames.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate

from services.voice.text.languages import Language

_RULES: tuple[tuple[str, str], ...] = (
    (r"[\u00ad\u200b\u2060\ufeff\u200e\u200f\u202a-\u202e\u2066-\u2069]+", ""),  # invisible
    (r"[\u00a0\u2000-\u200a\u202f\u205f\u3000]", " "),  # spaces of other widths
    (r"\bhttps?://(?:www\.)?(?=\w)", ""),
    (r"(?<!\w)(?:\*{1,3}|_{1,3}|~~|`{1,3})(?=\S)|(?<=\S)(?:\*{1,3}|_{1,3}|~~|`{1,3})(?!\w)", ""),  # *emphasis*, `code`
    (r"^[ \t]*#{1,6}[ \t]+", ""),  # headings
    (r"!{2,}", "!"),
    (r"\?{2,}", "?"),
)

_PLAIN = (
    r"[^\D0-9]"  # digits of other scripts and widths
    r"|[\u2460-\u249b\u24ea-\u24ff\u2776-\u2793\u3220-\u3229\u3248-\u325f\u3280-\u3289\u32b1-\u32bf]"  # ① ⑴ ❶ ㊀
    r"|[\u00be\u2150-\u2152\u2155-\u215e]"  # the fractions that engines do not read
    r"|[\uff21-\uff3a\uff41-\uff5a\uff03-\uff06\uff0b\uff1d\uff20\uffe0\uffe1\uffe5\uffe6]"  # Ａ ａ ＃ ％ ＋ ￥
    r"|(?<=\d)[\uff0c-\uff0f\uff1a](?=\d)"  # ，－．／： in a number; elsewhere they are pauses, which engines know
)
"""Characters that are read by their ASCII form."""
_FRACTION_SLASH = "\u2044"

Stretch = tuple[str, int, int, bool]
"""What is read, where what it stands for begins and ends, and whether it is unchanged."""


@dataclass(frozen=True, slots=True)
class Normalised:
    """Speakable text and its origin."""

    text: str
    _starts: tuple[int, ...]
    """Where in `text` each stretch begins."""
    _origins: tuple[int, ...]
    """Where in the original it came from."""
    _ends: tuple[int, ...]
    """Where in the original it ended."""
    _copied: tuple[bool, ...]
    """True if the stretch was taken over character by character, False if it replaces something."""

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return where in the original text the characters from `start` to before `end` came from.

        What replaces something came from all of it.
        """
        return self._origin(start)[0], self._origin(max(start, end - 1))[1]

    def _origin(self, position: int) -> tuple[int, int]:
        """Return the beginning and the end of what the character at `position` came from."""
        at = bisect_right(self._starts, position) - 1
        if self._copied[at]:
            origin = self._origins[at] + position - self._starts[at]
            return origin, origin + 1
        return self._origins[at], self._ends[at]


class Normaliser:
    """Normalises text of one language."""

    def __init__(self, language: Language) -> None:
        self._expand = language.expand
        self._reads = language.reads
        parts = [f"(?P<rule{number}>{pattern})" for number, (pattern, _) in enumerate(_RULES)]
        parts.append(f"(?P<plain>{_PLAIN})")
        parts.append(r"(?P<letters>\w[\u0300-\u036f]+)")
        if language.expand:
            longest_first = sorted(language.expand, key=len, reverse=True)
            parts.append(rf"(?<!\w)(?P<expand>{'|'.join(map(re.escape, longest_first))})(?!\w)")
        self._pattern = re.compile("|".join(parts), re.MULTILINE)

    def __call__(self, text: str) -> Normalised:
        """Return the speakable form of `text`."""
        return joined(self._stretches(text), len(text))

    def _stretches(self, text: str) -> Iterator[Stretch]:
        done = 0
        for match in self._pattern.finditer(text):
            yield text[done : match.start()], done, match.start(), True
            yield self._replaced(match), match.start(), match.end(), False
            done = match.end()
        yield text[done:], done, len(text), True

    def _replaced(self, match: re.Match[str]) -> str:
        name = match.lastgroup or ""
        if name == "plain":
            return match.group() if match.group() in self._reads else _plain(match.group())
        if name == "letters":
            return unicodedata.normalize("NFC", match.group())
        if name == "expand":
            return self._expand[match.group()]
        return _RULES[int(name.removeprefix("rule"))][1]


def _plain(character: str) -> str:
    """Return the ASCII form. A number that is one character keeps apart from those beside it."""
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    form, number = unicodedata.normalize("NFKC", character), unicodedata.numeric(character, None)
    if number is None:
        return form
    return f" {int(number)} " if number.is_integer() else f" {form.replace(_FRACTION_SLASH, '/')} "


def joined(stretches: Iterable[Stretch], length: int) -> Normalised:
    """Return the speakable form that the stretches of a text of this length make."""
    kept = [stretch for stretch in stretches if stretch[0]]
    kept.append(("", length, length, False))
    starts = accumulate((len(piece) for piece, *_ in kept[:-1]), initial=0)
    pieces, origins, ends, copied = zip(*kept, strict=True)
    return Normalised("".join(pieces), tuple(starts), origins, ends, copied)
