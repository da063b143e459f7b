"""Undo the disguises by which a word escapes a word list, keeping track of where each character came from.

A text has several *views*. The first is folded: compatibility forms, case, accents, invisible characters and
look-alike letters are undone. The others exist only where something in the text calls for them: digits that stand
for letters ("n4ked"), letters pulled apart by whatever is no letter ("n u d e", "n . u . d . e"), words cut by
punctuation ("na-ked"), masked vowels ("n*de"), letters drawn out ("nuuude"), emoji that say what words do. Word lists
are folded by the same function, so folding costs no precision in any script.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

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
_ASCII = {code: chr(code).lower() if chr(code).isprintable() else " " for code in range(128)}
_LONGEST_SPELLING = 8  # a character that stands for whole sentences (U+FDFA) is nobody's disguise of a word

PICTURES = "\u2600-\u27bf\U0001f300-\U0001faff"
"""The range of emoji, to stand in the brackets of a regular expression."""
UNSPACED = "\u3040-\u30ff\u3400-\u9fff"
"""The characters of scripts written without spaces (Chinese, Japanese), to stand there too."""
CLAUSE_ENDS = r".!?;:\n,()\[\]{}<>|#\"“”„«»「」—–=。、，：；！？"
"""Signs that end a clause, to stand there too."""

_LEET = {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "9": "g", "@": "a", "$": "s", "!": "i"}
_ELL = _LEET | {"1": "l", "!": "l"}
_PICTURE = re.compile(f"[{PICTURES}]")
_WORD = re.compile(r"[\w@$!]+")
_LETTER = re.compile(r"[^\W\d_]")
_STAND_IN = re.compile(r"[\d@$!]")
_EVEN_RUN = re.compile(r"(?<![^\W_])[^\W_]([\W_]+)[^\W_](?:\1[^\W_])+(?![^\W_])")
"""Single letters, the same between each two: a wider gap parts words."""
_RUN = re.compile(r"(?<![^\W_])[^\W_](?:[\W_]+[^\W_](?![^\W_])){2,}")
"""Single letters, whatever is between them."""
_CUT = re.compile(r"(?<=[^\W\d_])[-._~+/\\]+(?=[^\W\d_])")
_MASK = re.compile(r"(?<=[^\W\d_])[*#](?=[*#]?[^\W\d_])|(?<=[^\W\d_][*#])[*#](?=[^\W\d_])")
_DRAWN_OUT = re.compile(r"([^\W\d_])\1{2,}")

Edits = Mapping[int, str]
"""What some characters of a view are read as instead, by position; an empty text removes the character."""


@dataclass(frozen=True, slots=True)
class View:
    """One reading of a text; `origins[i]` is where character `i` came from, and the last entry is the text's length.

    `solid` are the places where words begin that were single letters and are put together: what parted words may be
    lost in them. In a `pictured` view each emoji is a word; elsewhere they only part words.
    """

    text: str
    origins: tuple[int, ...] = field(hash=False)
    solid: frozenset[int] = frozenset()
    pictured: bool = False

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the part of the original that `text[start:end]` stands for, removed characters included."""
        return self.origins[start], max(self.origins[end], self.origins[end - 1] + 1)


def fold(text: str) -> str:
    """Return `text` in its folded form: lower case, no accents, nothing invisible, Latin look-alikes Latin."""
    return folded(text).text


@lru_cache(maxsize=16)  # screening and choosing read the same prompt one after the other
def views(text: str) -> tuple[View, ...]:
    """Return the distinct readings of `text`, the folded one first; a plain text has only that one."""
    return tuple(dict.fromkeys(_views(folded(text))))


def _views(first: View) -> Iterator[View]:
    yield first
    if _PICTURE.search(first.text):
        yield replace(first, pictured=True)
    for spelt in dict.fromkeys(_unleet(first)):
        yield spelt
        yield _edit(spelt, {at: "" for cut in _CUT.finditer(spelt.text) for at in range(*cut.span())})
        drawn_out = [run.span() for run in _DRAWN_OUT.finditer(spelt.text)]
        for kept in (1, 2):
            yield _edit(spelt, {at: "" for start, end in drawn_out for at in range(start + kept, end)})
    masks = [mask.start() for mask in _MASK.finditer(first.text)]
    for vowel in "aeiou" if masks else "":
        yield _edit(first, dict.fromkeys(masks, vowel))
    for runs in (_EVEN_RUN, _RUN):
        joined = _joined(first, runs)
        yield joined
        yield from (replace(spelt, solid=joined.solid) for spelt in _unleet(joined))


def folded(text: str) -> View:
    """Return the first view of `text`: its folded form, and where that came from."""
    if text.isascii():
        return View(text.translate(_ASCII), tuple(range(len(text) + 1)))
    pairs = [(char, at) for at, original in enumerate(text) for char in _fold_char(original)]
    return View("".join(char for char, _ in pairs), (*(at for _, at in pairs), len(text)))


@lru_cache(maxsize=4096)
def _fold_char(char: str) -> str:
    if char.isascii():
        return _ASCII[ord(char)]
    if unicodedata.category(char) in {"Zl", "Zp", "Zs"}:
        return " "
    for first in _ALPHABETS:
        if first <= ord(char) < first + 26:
            return chr(ord("a") + ord(char) - first)
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", char).casefold())
    return "".join(
        _CONFUSABLES.get(each, each)
        for each in (plain if len(plain) <= _LONGEST_SPELLING else char)
        if unicodedata.category(each) not in _DROPPED and each not in _BLANKS
    )


def _edit(view: View, edits: Edits) -> View:
    if not edits:
        return view
    kept = [(edits.get(at, char), view.origins[at]) for at, char in enumerate(view.text) if edits.get(at, char)]
    return View("".join(char for char, _ in kept), (*(origin for _, origin in kept), view.origins[-1]))


def _unleet(view: View) -> tuple[View, View]:
    """Return both readings of the digits and signs of words that have letters too.

    A "!" at the end of a word ends a sentence.
    """
    words = _WORD.finditer(view.text) if _STAND_IN.search(view.text) else ()
    found = ((word.start(), word.group().rstrip("!")) for word in words)
    mixed = [(start, word) for start, word in found if _STAND_IN.search(word) and _LETTER.search(word)]
    places = [(start + at, char) for start, word in mixed for at, char in enumerate(word)]
    digits, ell = ({at: letters[char] for at, char in places if char in letters} for letters in (_LEET, _ELL))
    return _edit(view, digits), _edit(view, ell)


def _joined(view: View, runs: re.Pattern[str]) -> View:
    """Return the view with each run of single letters as one word."""
    gaps: dict[int, str] = {}
    solid = set()
    for run in runs.finditer(view.text):
        solid.add(run.start() - len(gaps))
        gaps |= {at: "" for at, char in enumerate(run.group(), run.start()) if not char.isalnum()}
    return replace(_edit(view, gaps), solid=frozenset(solid))
