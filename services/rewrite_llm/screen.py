"""Say whether a prompt is allowed, must be rewritten, or is blocked."""

from services.rewrite_llm.consult import Consultant
from services.rewrite_llm.domain import Finding, Screening, Source, Verdict, strictest_first
from services.rewrite_llm.metrics import RewriteMetrics
from services.rewrite_llm.safety.rules import RuleSet

UNSAFE = "unsafe"
"""The category of what only the language model saw."""
LLM_RULE = "llm"


class ScreenPrompt:
    """Rules first; the language model is asked about what they let pass.

    It gives one probability for all categories, so a finding of its own has the category `unsafe`, for which policy
    says `unsafe_verdict`. It needs `threshold` to count.
    """

    def __init__(
        self,
        consultant: Consultant,
        rules: RuleSet,
        metrics: RewriteMetrics,
        *,
        threshold: float,
        unsafe_verdict: Verdict,
        llm_limit_s: float,
    ) -> None:
        self._consultant = consultant
        self._rules = rules
        self._metrics = metrics
        self._threshold = threshold
        self._unsafe_verdict = unsafe_verdict
        self._llm_limit_s = llm_limit_s

    async def __call__(self, prompt: str) -> Screening:
        """Return the judgement, with every finding."""
        screening = await self._judge(prompt)
        self._metrics.screenings.labels(screening.verdict.name.lower(), screening.source.value).inc()
        for finding in screening.findings:
            self._metrics.findings.labels(finding.category, finding.rule_id).inc()
        return screening

    async def _judge(self, prompt: str) -> Screening:
        hits = self._rules.find(prompt)
        found = strictest_first([Finding(hit.category, hit.rule_id, hit.verdict) for hit in hits])
        by_rules = Screening(found, Source.RULES)
        if by_rules.verdict > Verdict.ALLOW:
            return by_rules
        answer = await self._consultant.ask(lambda llm: llm.unsafe(prompt), self._llm_limit_s)
        if answer.value is None:
            return Screening(found, Source.RULES, degraded=answer.degraded)
        if answer.value >= self._threshold:
            finding = Finding(UNSAFE, LLM_RULE, self._unsafe_verdict, answer.value)
            found = strictest_first([*found, finding])
        return Screening(found, Source.BOTH, answer.value, answer.degraded)
