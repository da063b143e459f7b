"""Let a replacement agree with the word whose place it takes, as far as that word's ending tells.

A replacement may list its forms: in Romance languages masculine, feminine, masculine plural, feminine plural, and one
that never changes, for terms like "sin ropa" ("vestido|vestida|vestidos|vestidas|con abrigo"); plain and with an ending
in Dutch ("gekleed|geklede"). In German a `*` takes over an adjective's ending ("bekleidet*" for "nackten").
"""

import re
from collections.abc import Callable

_GERMAN = re.compile(r"^\w+?t(e|er|en|es|em)?$")
_ARTICLE = re.compile(r"(?<!\w)([Aa])n?(\s+)$")

_PREPOSITIONS = frozenset({"sans", "senza", "sin", "sem", "en", "in", "à", "a"})
_MASCULINE, _FEMININE, _PLURAL = 0, 1, 2


def agree(forms: str, term: str, language: str) -> str:
    """Return the form that agrees with `term`, the text to be replaced; the first where nothing tells."""
    listed, words = forms.split("|"), term.lower().split() or [""]
    word = words[-1]
    if language == "de":
        ending = _GERMAN.match(word)
        return forms.replace("*", (ending[1] or "") if ending else "")
    if words[0] in _PREPOSITIONS:
        return listed[-1]
    form = _FORMS[language](word) if language in _FORMS else 0
    return listed[form] if form < len(listed) else listed[0]


def _french(word: str) -> int:
    plural = _PLURAL if word[-1:] in {"s", "x"} else 0
    return plural + (_FEMININE if word.rstrip("sx").endswith("e") else _MASCULINE)


def _iberian(word: str) -> int:
    plural = _PLURAL if word.endswith("s") else 0
    return plural + (_FEMININE if word.rstrip("s").endswith("a") else _MASCULINE)


def _italian(word: str) -> int:
    return {"a": _FEMININE, "i": _PLURAL, "e": _PLURAL + _FEMININE}.get(word[-1:], _MASCULINE)


def _dutch(word: str) -> int:
    return int(word.endswith("e"))


_FORMS: dict[str, Callable[[str], int]] = {
    "fr": _french,
    "es": _iberian,
    "pt": _iberian,
    "it": _italian,
    "nl": _dutch,
}


def with_article(before: str, wording: str) -> str:
    """Return the English text `before` a wording, ending in "a" or "an" as the wording wants it if in either."""
    if not wording:
        return before
    return _ARTICLE.sub(r"\1n\2" if wording[0].lower() in "aeiou" else r"\1\2", before)
