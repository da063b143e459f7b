"""Find the names of models in a prompt, which describe nothing."""

import re
from collections.abc import Iterable, Iterator, Sequence

from services.rewrite_llm.text.normalise import View, fold
from services.rewrite_llm.text.phrases import Lexicon

Span = tuple[int, int]

_NAME = re.compile(r"[^\W_]+(?:[-_./]+[^\W_]+)*")
_SEPARATORS = re.compile(r"[\W_]+")
_SHORTEST = 5
"""Letters that must agree before a word is taken for a name that is longer or shorter."""


class Names:
    """The ids of some models, in the ways in which people write them."""

    def __init__(self, ids: Sequence[str]) -> None:
        parts = [_SEPARATORS.split(fold(each)) for each in ids]
        self._joined = frozenset("".join(each) for each in parts if _is_made_up(each))
        self._long = tuple(each for each in self._joined if len(each) >= _SHORTEST)
        self._families = frozenset(each[0] for each in parts if len(each) > 1)
        self._spoken: Lexicon[None] = Lexicon((" ".join(each), None) for each in parts if any(each))

    def written(self, readings: Iterable[View]) -> frozenset[Span]:
        """Return where a text has a name, or nearly one, that no language has as a word: `flux_dev`, `FluxDev2`."""
        return frozenset(
            view.span(*word.span())
            for view in readings
            for word in _NAME.finditer(view.text)
            if self._is_name(word.group())
        )

    def spoken(self, view: View) -> Iterator[Span]:
        """Yield where a text has the words of a name ("sketch portrait"), or an identifier of any kind.

        Whether they name a model there, only the words around can tell.
        """
        for match in self._spoken.find(view):
            yield view.span(match.start, match.end)
        for word in _NAME.finditer(view.text):
            if "_" in word.group():
                yield view.span(*word.span())

    def _is_name(self, word: str) -> bool:
        if word.isalpha():  # has no parts
            return word in self._joined
        first, *more = _SEPARATORS.split(word)
        joined = "".join((first, *more))
        if joined in self._joined or ("_" in word and first in self._families):
            return True
        if len(joined) < _SHORTEST or not (more or any(map(str.isdigit, joined))):
            return False
        return any(name.startswith(joined) or joined.startswith(name) for name in self._long)


def _is_made_up(parts: Sequence[str]) -> bool:
    """Tell a made-up name from one that is a word of some language, such as `sketch`."""
    return len(parts) > 1 or any(map(str.isdigit, parts[0]))
