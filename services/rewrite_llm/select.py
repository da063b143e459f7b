"""Choose the model that suits a prompt."""

import math
from collections.abc import Sequence

from services.rewrite_llm.consult import Consultant
from services.rewrite_llm.domain import Candidate, Selection, Share, Source
from services.rewrite_llm.metrics import RewriteMetrics
from services.rewrite_llm.ports import Engine
from services.rewrite_llm.selection.injection import InjectionFilter


class SelectModel:
    """Scores candidates by the language model, by rules if it does not answer.

    When the two best are closer than `min_margin`, nothing stands out and the default is taken.
    """

    def __init__(
        self,
        consultant: Consultant,
        rules: Engine,
        orders: InjectionFilter,
        metrics: RewriteMetrics,
        *,
        min_margin: float,
        llm_limit_s: float,
    ) -> None:
        self._consultant = consultant
        self._rules = rules
        self._orders = orders
        self._metrics = metrics
        self._min_margin = min_margin
        self._llm_limit_s = llm_limit_s

    async def __call__(self, prompt: str, candidates: Sequence[Candidate], default_id: str = "") -> Selection:
        """Return the choice among 1 or more candidates; `default_id` is one of them, or empty for the first."""
        default = default_id or candidates[0].id
        if len(candidates) == 1:
            return Selection(default, (Share(default, 1.0),), 1.0, False, Source.RULES, "it is the only candidate")
        text = self._orders.clean(prompt, [each.id for each in candidates])
        answer = await self._consultant.ask(lambda llm: llm.choose(candidates, text), self._llm_limit_s)
        log_odds, source = answer.value, Source.LLM
        if log_odds is None:
            log_odds, source = self._rules.choose(candidates, [text])[0], Source.RULES
        llm = self._consultant.model_id if source is Source.LLM else ""
        selection = self._decide(candidates, default, log_odds, source, llm, answer.degraded)
        self._metrics.selections.labels(source.value, str(selection.defaulted).lower()).inc()
        self._metrics.margin.labels(source.value).observe(selection.margin)
        return selection

    def _decide(
        self,
        candidates: Sequence[Candidate],
        default: str,
        log_odds: Sequence[float],
        source: Source,
        llm: str,
        degraded: str,
    ) -> Selection:
        shares = _ranked(candidates, softmax(log_odds))
        best, second = shares[:2]
        margin = best.score - second.score
        if margin < self._min_margin:
            why = f"nothing stood out: the two best are {margin:.3f} apart, less than {self._min_margin:.3f}"
            return Selection(default, shares, margin, True, source, f"{why}; the default is taken", llm, degraded)
        why = f"by {_JUDGES[source]} it suits with {best.score:.0%}, the next, {second.id}, with {second.score:.0%}"
        return Selection(best.id, shares, margin, False, source, why, llm, degraded)


_JUDGES = {Source.LLM: "the language model", Source.RULES: "rules"}


def softmax(log_odds: Sequence[float]) -> tuple[float, ...]:
    """Return shares that add up to 1."""
    most = max(log_odds)
    odds = [math.exp(each - most) for each in log_odds]
    return tuple(each / sum(odds) for each in odds)


def _ranked(candidates: Sequence[Candidate], shares: Sequence[float]) -> tuple[Share, ...]:
    """Pair and sort, best first; equals by id, so that the caller's order decides nothing."""
    pairs = [Share(candidate.id, share) for candidate, share in zip(candidates, shares, strict=True)]
    return tuple(sorted(pairs, key=lambda share: (-share.score, share.id)))
