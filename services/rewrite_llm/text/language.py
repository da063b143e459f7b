"""Guess the language of a short text from its commonest words."""

import re

from services.rewrite_llm.text.normalise import fold

_COMMON = {
    "en": "the a an of in on at with and is are for to by from his her its under over into who which that this",
    "de": "der die das ein eine einen einem einer und mit im am auf von vor ist sind fur aus zu den dem bei nach als",
    "fr": "le la les un une des du de et avec dans sur au aux est sont pour par en sous d l qui que ses ces",
    "es": "el la los las un una unos de del y con en sobre al es son para por su bajo que como sus desde",
    "it": "il lo la i gli le un una uno di del della dei e con in su al nel nella e per da sotto che come dal sul",
    "pt": "o a os as um uma de do da dos das e com em no na ao para por sobre sob que como",
}
_WORDS = {language: frozenset(words.split()) for language, words in _COMMON.items()}
_WORD = re.compile(r"[^\W\d_]+")


def guess(text: str, default: str = "en") -> str:
    """Return the code of the language whose common words make up most of `text`; `default` if none occurs."""
    words = _WORD.findall(fold(text))
    counts = {language: sum(word in common for word in words) for language, common in _WORDS.items()}
    best = max(counts, key=lambda language: counts[language])
    return best if counts[best] else default


def is_common(word: str) -> bool:
    """Tell whether a folded word says nothing of the subject in one of the languages."""
    return any(word in common for common in _WORDS.values())
