"""Make a prompt safe, and keep its subject, style and language."""

from collections.abc import Generator, Iterator, Sequence

from services.rewrite_llm.consult import Consultant
from services.rewrite_llm.domain import MAX_PROMPT_CHARS, Rewriting, Screening, Source, Verdict
from services.rewrite_llm.metrics import RewriteMetrics
from services.rewrite_llm.ports import Engine
from services.rewrite_llm.safety.rules import RuleSet
from services.rewrite_llm.screen import ScreenPrompt
from services.rewrite_llm.text.likeness import same_words, shared_words

MIN_SHARED_WORDS = 0.6
"""Share of the original's harmless words that a rewriting must keep to count as the same picture."""


def max_chars(prompt: str) -> int:
    """Return how long a rewriting may be, as the contract says: it is a prompt, and no longer than one may be."""
    return min(2 * len(prompt) + 100, MAX_PROMPT_CHARS)


class RewritePrompt:
    """Tries the language model, then the rules; what either writes is screened again. If neither passes: a block."""

    def __init__(
        self,
        screen: ScreenPrompt,
        consultant: Consultant,
        rules: Engine,
        rule_set: RuleSet,
        metrics: RewriteMetrics,
        *,
        llm_limit_s: float,
    ) -> None:
        self._screen = screen
        self._consultant = consultant
        self._rules = rules
        self._rule_set = rule_set
        self._metrics = metrics
        self._llm_limit_s = llm_limit_s

    async def __call__(self, prompt: str, categories: Sequence[str] = (), *, flagged_output: bool = False) -> Rewriting:
        """Return the safe prompt. With `categories` or `flagged_output`, even a prompt that screens clean changes."""
        screening = await self._screen(prompt)
        if screening.verdict is Verdict.BLOCK:
            rewriting = _blocked(screening, f"policy blocks {self._titles(screening.categories)}")
        elif screening.verdict is Verdict.ALLOW and not categories and not flagged_output:
            rewriting = _unchanged(prompt, screening)
        else:
            rewriting = await self._reword(
                prompt, screening, tuple(dict.fromkeys([*screening.categories, *categories]))
            )
        self._metrics.rewrites.labels(rewriting.verdict.name.lower(), rewriting.source.value).inc()
        return rewriting

    async def _reword(self, prompt: str, screening: Screening, categories: Sequence[str]) -> Rewriting:
        limit = max_chars(prompt)
        answer = await self._consultant.ask(lambda llm: llm.reword(prompt, categories, limit), self._llm_limit_s)
        degraded = screening.degraded or answer.degraded
        for text, source in self._wordings(prompt, answer.value, categories, limit):
            judged = await self._screen(text)
            degraded = degraded or judged.degraded
            if judged.verdict is Verdict.ALLOW:
                why = f"reworded by {_AUTHORS[source]} to avoid {self._titles(categories)}"
                return Rewriting(Verdict.ALLOW, text, True, screening.findings, source, why, degraded)
        return _blocked(screening, f"no safe wording was found that avoids {self._titles(categories)}", degraded)

    def _wordings(
        self, prompt: str, llm: str | None, categories: Sequence[str], limit: int
    ) -> Iterator[tuple[str, Source]]:
        if llm is not None and self._is_usable(prompt, llm, limit):
            yield llm, Source.LLM
        by_rules = finish(self._rules.reword(prompt, categories, limit))
        if by_rules and by_rules != prompt:
            yield by_rules, Source.RULES

    def _is_usable(self, prompt: str, text: str, limit: int) -> bool:
        """Reject what is empty, unchanged, too long, or another picture."""
        if not text or same_words(prompt, text) or len(text) > limit:
            return False
        return shared_words(self._rule_set.without_hits(prompt), text) >= MIN_SHARED_WORDS

    def _titles(self, categories: Sequence[str]) -> str:
        return ", ".join(self._rule_set.title(each) for each in categories) or "what was flagged"


def finish(steps: Generator[None, None, str]) -> str:
    """Run an engine's steps to their end on this thread; only for engines that are quick, such as rules."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return str(end.value)


_AUTHORS = {Source.LLM: "the language model", Source.RULES: "rules"}


def _unchanged(prompt: str, screening: Screening) -> Rewriting:
    why = "it is safe as it is"
    return Rewriting(Verdict.ALLOW, prompt, False, screening.findings, screening.source, why, screening.degraded)


def _blocked(screening: Screening, why: str, degraded: str = "") -> Rewriting:
    return Rewriting(
        Verdict.BLOCK, "", False, screening.findings, screening.source, why, degraded or screening.degraded
    )
