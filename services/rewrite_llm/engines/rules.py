"""Answers by rules, in well under a millisecond and without a single weight."""

from collections.abc import Callable, Generator, Mapping, Sequence

from services.rewrite_llm.domain import Candidate, Verdict
from services.rewrite_llm.ports import go_on
from services.rewrite_llm.safety.rules import RuleSet
from services.rewrite_llm.selection.keywords import Keywords
from services.rewrite_llm.text import language
from services.rewrite_llm.text.length import shorten


class RulesEngine:
    """An `Engine` over the rule files.

    `additions` are words, by language, that steer a picture towards the harmless where no rule has anything to replace.
    """

    def __init__(self, rules: RuleSet, keywords: Keywords, additions: Mapping[str, str]) -> None:
        self._rules = rules
        self._keywords = keywords
        self._additions = additions

    def choose(self, candidates: Sequence[Candidate], texts: Sequence[str]) -> list[tuple[float, ...]]:
        """Score by topics."""
        return [self._keywords.score(candidates, text) for text in texts]

    def unsafe(self, texts: Sequence[str], check: Callable[[], None] = go_on) -> list[float]:
        """Return 1 where a rule fires that policy does not allow, else 0."""
        return [float(any(hit.verdict > Verdict.ALLOW for hit in self._rules.find(text))) for text in texts]

    def reword(self, text: str, categories: Sequence[str], max_chars: int) -> Generator[None, None, str]:
        """Replace what the rules find; where they find nothing, add words that keep the picture harmless.

        What does not fit is left out at the end of the text, by whole words.
        """
        yield
        softened, added = self._rules.soften(text), ""
        if softened == " ".join(text.split()):
            added = self._additions.get(language.guess(text), self._additions["en"])
        return shorten(softened, max_chars - len(added)) + added
