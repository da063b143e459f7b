import pytest
from prometheus_client import CollectorRegistry

from services.rewrite_llm.consult import Consultant
from services.rewrite_llm.domain import Finding, Screening, Source, Verdict
from services.rewrite_llm.metrics import RewriteMetrics
from services.rewrite_llm.safety.rules import RuleSet
from services.rewrite_llm.screen import ScreenPrompt
from tests.unit.services.rewrite_llm.fakes import ScriptedModel


async def screen(rules: RuleSet, prompt: str, model: ScriptedModel | None = None) -> Screening:
    metrics = RewriteMetrics(CollectorRegistry())
    return await ScreenPrompt(
        Consultant(model, metrics),
        rules,
        metrics,
        threshold=0.8,
        unsafe_verdict=Verdict.REWRITE,
        llm_limit_s=0.01,
    )(prompt)


async def test_rules_alone(rule_set: RuleSet) -> None:
    screening = await screen(rule_set, "a lake")
    assert (screening.verdict, screening.source, screening.unsafe_score) == (Verdict.ALLOW, Source.RULES, 0.0)


async def test_the_strictest_finding_decides_and_comes_first(rule_set: RuleSet) -> None:
    screening = await screen(rule_set, "a nude woman and a swastika")
    assert screening.verdict is Verdict.BLOCK
    assert [finding.category for finding in screening.findings] == ["hate", "sexual"]
    assert screening.categories == ("hate", "sexual")


async def test_the_language_model_finds_what_rules_cannot_see(rule_set: RuleSet) -> None:
    screening = await screen(rule_set, "a lake", ScriptedModel(chance=0.9))
    assert screening.findings == (Finding("unsafe", "llm", Verdict.REWRITE, 0.9),)
    assert (screening.source, screening.unsafe_score) == (Source.BOTH, 0.9)


async def test_below_the_threshold_it_does_not_count(rule_set: RuleSet) -> None:
    screening = await screen(rule_set, "a lake", ScriptedModel(chance=0.79))
    assert (screening.verdict, screening.findings, screening.unsafe_score) == (Verdict.ALLOW, (), 0.79)


async def test_it_is_not_asked_about_what_rules_object_to(rule_set: RuleSet) -> None:
    model = ScriptedModel(chance=0.0)
    screening = await screen(rule_set, "a nude woman", model)
    assert (screening.source, model.asked) == (Source.RULES, [])


@pytest.mark.parametrize("failure", [None, RuntimeError("broken")])
async def test_where_it_fails_rules_have_the_last_word(rule_set: RuleSet, failure: Exception | None) -> None:
    screening = await screen(rule_set, "a lake", ScriptedModel(chance=failure))
    assert (screening.verdict, screening.source) == (Verdict.ALLOW, Source.RULES)
    assert screening.degraded
