"""Guess the language of a short text from its script, or from its commonest words."""

import re

from services.rewrite_llm.text.normalise import fold

_COMMON = {
    "en": "the a an of in on at with and is are for to by from his her its under over into who which that this",
    "de": "der die das ein eine einen einem einer und mit im am auf von vor ist sind fur aus zu den dem bei nach als",
    "fr": "le la les un une des du de et avec dans sur au aux est sont pour par en sous d l qui que ses ces",
    "es": "el la los las un una unos de del y con en sobre al es son para por su bajo que como sus desde",
    "it": "il lo la i gli le un una uno di del della dei e con in su al nel nella e per da sotto che come dal sul",
    "pt": "o a os as um uma de do da dos das e com em no na ao para por sobre sob que como",
    "nl": "de het een en van in op met voor bij onder uit naar aan zijn niet door over tegen als",
    "pl": "w z na i do pod nad za dla przez jest przy od ze o po jak",
}
_SCRIPTS = {
    "ja": re.compile("[\u3040-\u30ff]"),
    "zh": re.compile("[\u4e00-\u9fff]"),
    "ru": re.compile("[\u0400-\u04ff]"),
}
_MOSTLY = {"ja": 0.2, "zh": 0.5, "ru": 0.5}
"""Share of a text's letters that a script needs: Japanese is written in Chinese characters too, and single letters of
other scripts hide in words of ours."""
_WORDS = {language: frozenset(words.split()) for language, words in _COMMON.items()}
_WORD = re.compile(r"[^\W\d_]+")


def guess(text: str, default: str = "en") -> str:
    """Return the code of the language whose script or common words make up most of `text`; `default` if none occurs."""
    return _by_script(text) or _by_words(text) or default


def _by_script(text: str) -> str:
    letters = sum(map(str.isalpha, text))
    found = (code for code, script in _SCRIPTS.items() if len(script.findall(text)) > _MOSTLY[code] * letters)
    return next(found, "")


def _by_words(text: str) -> str:
    words = _WORD.findall(fold(text))
    counts = {language: sum(word in common for word in words) for language, common in _WORDS.items()}
    best = max(counts, key=lambda language: counts[language])
    return best if counts[best] else ""


def is_common(word: str) -> bool:
    """Tell whether a folded word says nothing of the subject in one of the languages."""
    return any(word in common for common in _WORDS.values())
