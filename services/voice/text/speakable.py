"""Is there anything to say?"""

import unicodedata

_SILENT = ("P", "Z", "C")
"""First letters of the Unicode categories that are not spoken: punctuation, separators, controls."""


def is_speakable(text: str) -> bool:
    """Tell whether a text has a letter, digit or symbol."""
    return any(character.isalnum() or unicodedata.category(character)[0] not in _SILENT for character in text)
