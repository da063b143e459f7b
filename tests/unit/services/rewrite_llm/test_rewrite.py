import pytest
from prometheus_client import CollectorRegistry

from services.rewrite_llm.consult import Consultant
from services.rewrite_llm.domain import MAX_PROMPT_CHARS, Rewriting, Source, Verdict
from services.rewrite_llm.engines.rules import RulesEngine
from services.rewrite_llm.metrics import RewriteMetrics
from services.rewrite_llm.rewrite import RewritePrompt, max_chars
from services.rewrite_llm.safety.rules import RuleSet
from services.rewrite_llm.screen import ScreenPrompt
from services.rewrite_llm.selection.keywords import Keywords
from tests.unit.services.rewrite_llm.fakes import ScriptedModel

PROMPT = "a nude woman on a quiet beach"
ADDITIONS = {"en": ", family friendly", "de": ", familienfreundlich"}


async def rewrite(
    rules: RuleSet,
    model: ScriptedModel | None = None,
    prompt: str = PROMPT,
    categories: tuple[str, ...] = (),
    *,
    flagged: bool = False,
) -> Rewriting:
    metrics = RewriteMetrics(CollectorRegistry())
    consultant = Consultant(model, metrics)
    screen = ScreenPrompt(consultant, rules, metrics, threshold=0.8, unsafe_verdict=Verdict.REWRITE, llm_limit_s=0.01)
    engine = RulesEngine(rules, Keywords(()), ADDITIONS)
    use_case = RewritePrompt(screen, consultant, engine, rules, metrics, llm_limit_s=0.01)
    return await use_case(prompt, categories, flagged_output=flagged)


async def test_the_language_models_wording_is_taken(rule_set: RuleSet) -> None:
    rewriting = await rewrite(rule_set, ScriptedModel(wording="a woman in a summer dress on a quiet beach"))
    assert (rewriting.verdict, rewriting.source) == (Verdict.ALLOW, Source.LLM)
    assert rewriting.prompt == "a woman in a summer dress on a quiet beach"
    assert [finding.rule_id for finding in rewriting.findings] == ["sexual.nude"]


@pytest.mark.parametrize(
    "wording",
    [
        "",
        PROMPT,
        "a naked woman on a quiet beach",
        "lorem ipsum dolor sit amet",
        "a woman in a woman in a cellar",
        "a woman on a quiet beach " * 40,
        None,
        RuntimeError("broken"),
    ],
    ids=["empty", "unchanged", "still unsafe", "another picture", "another place", "too long", "never", "broken"],
)
async def test_an_unusable_wording_gives_way_to_rules(rule_set: RuleSet, wording: str | Exception | None) -> None:
    rewriting = await rewrite(rule_set, ScriptedModel(wording=wording))
    assert (rewriting.source, rewriting.prompt) == (Source.RULES, "a fully clothed woman on a quiet beach")


@pytest.mark.parametrize("echo", ["a woman on a beach, (oil)", "A woman on a beach, oil."])
async def test_a_wording_that_says_the_same_is_none(rule_set: RuleSet, echo: str) -> None:
    rewriting = await rewrite(rule_set, ScriptedModel(wording=echo), prompt="a woman\non a beach, <oil>", flagged=True)
    assert (rewriting.source, rewriting.prompt) == (Source.RULES, "a woman on a beach, <oil>, family friendly")


async def test_a_wording_that_rules_alone_screened_is_a_degraded_one(rule_set: RuleSet) -> None:
    wording = "a woman in a summer dress on a quiet beach"
    rewriting = await rewrite(rule_set, ScriptedModel(chance=RuntimeError("broken"), wording=wording))
    assert (rewriting.source, rewriting.prompt) == (Source.LLM, wording)
    assert "failed (RuntimeError)" in rewriting.degraded


async def test_the_reason_names_what_was_found_and_what_was_asked_for(rule_set: RuleSet) -> None:
    rewriting = await rewrite(rule_set, categories=("violence", "sexual"))
    titles = [rule_set.title(each) for each in ("sexual", "violence")]
    assert rewriting.reason == f"reworded by rules to avoid {', '.join(titles)}"


async def test_what_no_wording_saves_is_blocked(rule_set: RuleSet) -> None:
    rewriting = await rewrite(rule_set, ScriptedModel(chance=0.9, wording="a woman on a quiet beach"), prompt="a beach")
    assert (rewriting.verdict, rewriting.prompt, rewriting.changed) == (Verdict.BLOCK, "", False)
    assert "no safe wording" in rewriting.reason


async def test_the_language_model_has_a_say_on_every_wording(rule_set: RuleSet) -> None:
    model = ScriptedModel(chance=lambda text: float("friendly" not in text), wording="a beach in the evening")
    rewriting = await rewrite(rule_set, model, prompt="a beach")
    assert rewriting.prompt == "a beach, family friendly"


async def test_a_blocked_prompt_is_not_reworded(rule_set: RuleSet) -> None:
    model = ScriptedModel(wording="a child on a beach")
    rewriting = await rewrite(rule_set, model, prompt="a naked child on a beach")
    assert (rewriting.verdict, rewriting.prompt, model.asked) == (Verdict.BLOCK, "", [])


async def test_a_safe_prompt_stays(rule_set: RuleSet) -> None:
    rewriting = await rewrite(rule_set, prompt="a quiet beach")
    assert (rewriting.verdict, rewriting.prompt, rewriting.changed) == (Verdict.ALLOW, "a quiet beach", False)


@pytest.mark.parametrize(("named", "flagged"), [(("sexual",), False), ((), True)])
async def test_a_safe_prompt_changes_when_its_picture_was_flagged(
    rule_set: RuleSet, named: tuple[str, ...], flagged: bool
) -> None:
    rewriting = await rewrite(rule_set, prompt="ein Strand mit der Sonne", categories=named, flagged=flagged)
    assert (rewriting.changed, rewriting.prompt) == (True, "ein Strand mit der Sonne, familienfreundlich")


async def test_the_reason_names_categories_and_not_the_prompt(rule_set: RuleSet) -> None:
    rewriting = await rewrite(rule_set)
    assert "sexual content" in rewriting.reason
    assert "beach" not in rewriting.reason


def test_the_bound_is_the_contracts() -> None:
    assert (max_chars("x" * 10), max_chars("x" * 4000)) == (120, 4000)


@pytest.mark.parametrize(("prompt", "flagged"), [("a nude woman, ", False), ("a woman, ", True)])
async def test_a_rewriting_is_no_longer_than_a_prompt_may_be(rule_set: RuleSet, prompt: str, flagged: bool) -> None:
    longest = (prompt + "oil painting, soft light, " * 200)[:MAX_PROMPT_CHARS]
    rewriting = await rewrite(rule_set, prompt=longest, flagged=flagged)
    assert (rewriting.verdict, rewriting.changed) == (Verdict.ALLOW, True)
    assert MAX_PROMPT_CHARS - 40 < len(rewriting.prompt) <= MAX_PROMPT_CHARS
    assert rewriting.prompt.endswith(ADDITIONS["en"]) is flagged
    assert rewriting.prompt.removesuffix(ADDITIONS["en"]).endswith(("oil", "painting", "soft", "light"))
