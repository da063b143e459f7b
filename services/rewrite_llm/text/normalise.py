"""Undo the disguises by which a word escapes a word list, keeping track of where each character came from.

A text has several *views*. The first is folded: compatibility forms, case, accents, invisible characters and
look-alike letters are undone. The others exist only where something in the text calls for them: digits that stand
for letters ("n4ked"), letters pulled apart ("n u d e"), words cut by punctuation ("na-ked"), masked vowels ("n*de"),
letters drawn out ("nuuude"). Word lists are folded by the same function, so folding costs no precision in any script.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

# Letters that look Latin and have no compatibility decomposition: the part of Unicode TR 39 that occurs in practice.
_CONFUSABLES = dict(
    zip(
        "авеіјкмнорсԛѕтухԁһӏԝαβεηικνορτυχϲıłøđħŧɑɡɩɪɴʀʏʟʜʙᴀᴄᴅᴇꜰᴊᴋᴍᴏᴘꜱᴛᴜᴠᴡᴢ",
        "abeijkmhopcqstyxdhlwabenikvoptuxcilodhtagiinrylhbacdefjkmopstuvwz",
        strict=True,
    )
)
_ALPHABETS = (0x1F1E6, 0x1F130, 0x1F150, 0x1F170)  # regional indicators; letters in squares, discs and filled squares
_BLANKS = frozenset("\u115f\u1160\u2800")  # letters and symbols that show nothing
_DROPPED = frozenset({"Mn", "Me", "Cf", "Cc", "Co", "Cs"})

_LEET = {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "9": "g", "@": "a", "$": "s", "!": "i"}
_ELL = _LEET | {"1": "l", "!": "l"}
_MIXED_WORD = re.compile(r"(?=[\w@$!]*[^\W\d_])(?=[^\W\d_]*[\d@$!])[\w@$!]*[\w@$]")
_SPACED = re.compile(r"(?<![^\W_])[^\W_]([\W_]{1,2})[^\W_](?:\1[^\W_])+(?![^\W_])")
_CUT = re.compile(r"(?<=[^\W\d_])[-._~+/\\]+(?=[^\W\d_])")
_MASK = re.compile(r"(?<=[^\W\d_])[*#](?=[*#]?[^\W\d_])|(?<=[^\W\d_][*#])[*#](?=[^\W\d_])")
_DRAWN_OUT = re.compile(r"([^\W\d_])\1{2,}")

Edits = Mapping[int, str]
"""What some characters of a view are read as instead, by position; an empty text removes the character."""


@dataclass(frozen=True, slots=True)
class View:
    """One reading of a text; `origins[i]` is where character `i` came from, and the last entry is the text's length.

    A `solid` view is a run of single letters put together: it has no word boundaries.
    """

    text: str
    origins: tuple[int, ...]
    solid: bool = False

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the part of the original that `text[start:end]` stands for, removed characters included."""
        return self.origins[start], max(self.origins[end], self.origins[end - 1] + 1)


def fold(text: str) -> str:
    """Return `text` in its folded form: lower case, no accents, nothing invisible, Latin look-alikes Latin."""
    return _folded(text).text


def views(text: str) -> tuple[View, ...]:
    """Return the distinct readings of `text`, the folded one first; a plain text has only that one."""
    return tuple(dict.fromkeys(_views(_folded(text))))


def _views(folded: View) -> Iterator[View]:
    yield folded
    for digits in (_LEET, _ELL):
        plain = _edit(folded, _unleet(folded.text, digits))
        yield plain
        yield _edit(plain, {at: "" for cut in _CUT.finditer(plain.text) for at in range(*cut.span())})
        for kept in (1, 2):
            yield _edit(plain, _shorten(plain.text, kept))
    for vowel in "aeiou":
        yield _edit(folded, {mask.start(): vowel for mask in _MASK.finditer(folded.text)})
    yield from _runs(folded)


def _folded(text: str) -> View:
    pairs = [(char, at) for at, original in enumerate(text) for char in _fold_char(original)]
    return View("".join(char for char, _ in pairs), (*(at for _, at in pairs), len(text)))


def _fold_char(char: str) -> str:
    if char.isascii():
        return char.lower() if char.isprintable() else " "
    if unicodedata.category(char) in {"Zl", "Zp", "Zs"}:
        return " "
    for first in _ALPHABETS:
        if first <= ord(char) < first + 26:
            return chr(ord("a") + ord(char) - first)
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", char).casefold())
    return "".join(
        _CONFUSABLES.get(each, each)
        for each in plain
        if unicodedata.category(each) not in _DROPPED and each not in _BLANKS
    )


def _edit(view: View, edits: Edits) -> View:
    if not edits:
        return view
    kept = [(edits.get(at, char), view.origins[at]) for at, char in enumerate(view.text) if edits.get(at, char)]
    return View("".join(char for char, _ in kept), (*(origin for _, origin in kept), view.origins[-1]))


def _unleet(text: str, letters: Mapping[str, str]) -> Edits:
    words = _MIXED_WORD.finditer(text)
    return {at: letters.get(text[at], text[at]) for word in words for at in range(*word.span())}


def _shorten(text: str, kept: int) -> Edits:
    return {at: "" for run in _DRAWN_OUT.finditer(text) for at in range(run.start() + kept, run.end())}


def _runs(folded: View) -> Iterator[View]:
    for run in _SPACED.finditer(folded.text):
        letters = [at for at in range(*run.span()) if folded.text[at].isalnum()]
        origins = tuple(folded.origins[at] for at in letters)
        text = "".join(_LEET.get(folded.text[at], folded.text[at]) for at in letters)
        yield View(text, (*origins, origins[-1] + 1), solid=True)
