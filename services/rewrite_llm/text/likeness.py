"""How much of a text is still there after rewording."""

import re

from services.rewrite_llm.text.language import is_common
from services.rewrite_llm.text.normalise import UNSPACED, fold

_WORD = re.compile(rf"[{UNSPACED}]|[^\W\d_{UNSPACED}]+")
_WORD_OR_NUMBER = re.compile(r"\w+")
_STEM = 5


def shared_words(original: str, text: str) -> float:
    """Return the share, 0 to 1, of the original's words that `text` has too; 1 if the original has none that count.

    Common words ("the", "mit") do not count, and words agree by their first letters, so that endings may differ.
    """
    wanted = _stems(original)
    return len(wanted & _stems(text)) / len(wanted) if wanted else 1.0


def same_words(original: str, text: str) -> bool:
    """Tell whether both say the same, however it is spaced, punctuated and capitalised."""
    said, says = (_WORD_OR_NUMBER.findall(fold(each)) for each in (original, text))
    return said == says


def _stems(text: str) -> frozenset[str]:
    return frozenset(word[:_STEM] for word in _WORD.findall(fold(text)) if not is_common(word))
