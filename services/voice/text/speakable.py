"""Is there anything to say?"""

import unicodedata

_SILENT = ("P", "Z", "C")
"""First letters of the Unicode categories that are not spoken: punctuation, separators, controls."""
NOTHING_TO_SPEAK = "has nothing to speak: no letter, digit or symbol"
"""What is wrong with a text that is not speakable."""


def is_speakable(text: str) -> bool:
    """Tell whether a text has a letter, digit or symbol."""
    return any(character.isalnum() or unicodedata.category(character)[0] not in _SILENT for character in text)
