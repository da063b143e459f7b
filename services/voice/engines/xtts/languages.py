"""The languages of XTTS v2, by BCP 47 tag."""

from importlib.util import find_spec

CODES = {
    "en": "en", "es": "es", "fr": "fr", "de": "de", "it": "it", "pt": "pt", "pl": "pl", "tr": "tr", "ru": "ru",
    "nl": "nl", "cs": "cs", "ar": "ar", "zh": "zh-cn", "hu": "hu", "ko": "ko", "ja": "ja", "hi": "hi",
}  # fmt: skip
"""XTTS's own names of the languages it was trained on."""

_READERS = {"zh": "pypinyin", "ja": "cutlet"}
"""Packages without which coqui-tts cannot read a language."""


def available() -> tuple[str, ...]:
    """Return the tags of the languages that can be read with what is installed here."""
    return tuple(tag for tag in CODES if tag not in _READERS or find_spec(_READERS[tag]))


def code(tag: str) -> str:
    """Return XTTS's name of a language, whatever its region or script. Raises KeyError for one it does not speak."""
    return CODES[tag.partition("-")[0]]
