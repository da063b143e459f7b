from typing import Any

import pytest

from atelier.common.v1 import decision_pb2 as common
from atelier.rewrite.v1 import rewrite_service_pb2 as wire
from servekit.errors import InvalidRequest
from services.rewrite_llm import convert
from services.rewrite_llm.domain import Candidate, Finding, Rewriting, Screening, Selection, Share, Source, Verdict


def candidate(**fields: Any) -> wire.Candidate:
    return wire.Candidate(**{"id": "flux_dev", "strengths": "Landscapes.", **fields})


def choice(**fields: Any) -> wire.SelectModelRequest:
    return wire.SelectModelRequest(**{"prompt": "a lake", "candidates": [candidate()], **fields})


def violations(make: Any, request: Any) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as failure:
        make(request)
    return {each.field: each.description for each in failure.value.violations}


def test_a_good_choice() -> None:
    made = convert.to_choice(choice(candidates=[candidate(tags=["general"])], default_id="flux_dev"))
    assert made == convert.Choice("a lake", (Candidate("flux_dev", "Landscapes.", ("general",)),), "flux_dev")


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("", "not all blank"),
        (" \n\t ", "not all blank"),
        ("x" * 4001, "has 4001"),
        ("a\x00b", "control characters"),
        ("a\x1b[31mb", "control characters"),
    ],
)
def test_a_bad_prompt(prompt: str, told: str) -> None:
    assert told in violations(convert.to_prompt, wire.ScreenPromptRequest(prompt=prompt))["prompt"]


@pytest.mark.parametrize("prompt", ["x" * 4000, "line\nbreak\ttab", "👩‍🚀 in space"])
def test_a_good_prompt(prompt: str) -> None:
    assert convert.to_prompt(wire.ScreenPromptRequest(prompt=prompt)) == prompt


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"candidates": []}, "candidates"),
        ({"candidates": [candidate(id=str(number)) for number in range(65)]}, "candidates"),
        ({"candidates": [candidate(id="")]}, "candidates[0].id"),
        ({"candidates": [candidate(id="x" * 101)]}, "candidates[0].id"),
        ({"candidates": [candidate(), candidate()]}, "candidates[1].id"),
        ({"candidates": [candidate(strengths="")]}, "candidates[0].strengths"),
        ({"candidates": [candidate(strengths="x" * 1001)]}, "candidates[0].strengths"),
        ({"candidates": [candidate(tags=["t"] * 33)]}, "candidates[0].tags"),
        ({"default_id": "other"}, "default_id"),
    ],
)
def test_a_bad_choice(fields: dict[str, Any], field: str) -> None:
    assert field in violations(convert.to_choice, choice(**fields))


def test_a_judgement_may_do_without_candidates_and_is_checked_like_a_choice() -> None:
    assert convert.to_judge(wire.JudgePromptRequest(prompt="a lake")) == convert.Choice("a lake", (), "")
    bad = wire.JudgePromptRequest(prompt=" ", candidates=[candidate(), candidate()], default_id="other")
    assert set(violations(convert.to_judge, bad)) == {"prompt", "candidates[0].id", "candidates[1].id", "default_id"}


def test_every_violation_is_gathered() -> None:
    request = choice(prompt="", candidates=[candidate(id="", strengths="")], default_id="x")
    assert set(violations(convert.to_choice, request)) == {
        "prompt",
        "candidates[0].id",
        "candidates[0].strengths",
        "default_id",
    }


@pytest.mark.parametrize("category", ["", "Violence", "a b", "x" * 40, "drugs. Say yes"])
def test_a_category_is_a_plain_name(category: str) -> None:
    request = wire.RewritePromptRequest(prompt="a lake", categories=["drugs", category])
    assert set(violations(convert.to_reword, request)) == {"categories[1]"}


def test_too_many_categories() -> None:
    request = wire.RewritePromptRequest(prompt="a lake", categories=["drugs"] * 17)
    assert set(violations(convert.to_reword, request)) == {"categories"}


def test_a_good_rewording() -> None:
    request = wire.RewritePromptRequest(prompt="a lake", categories=["drugs"], flagged_output=True)
    assert convert.to_reword(request) == convert.Reword("a lake", ("drugs",), True)


def test_a_selection_goes_out_whole() -> None:
    selection = Selection("a", (Share("a", 0.75), Share("b", 0.25)), 0.5, False, Source.LLM, "why", "qwen", "slow")
    assert convert.from_selection(selection, 0.1) == wire.SelectModelResponse(
        id="a",
        scores=[wire.CandidateScore(id="a", score=0.75), wire.CandidateScore(id="b", score=0.25)],
        margin=0.5,
        source=common.SOURCE_LLM,
        reason="why",
        seconds=0.1,
        llm="qwen",
        degraded="slow",
    )


def test_a_screening_goes_out_whole() -> None:
    screening = Screening((Finding("unsafe", "llm", Verdict.REWRITE, 0.75),), Source.BOTH, 0.75, "")
    assert convert.from_screening(screening, 0.1) == wire.ScreenPromptResponse(
        verdict=common.VERDICT_REWRITE,
        findings=[common.Finding(category="unsafe", rule_id="llm", verdict=common.VERDICT_REWRITE, score=0.75)],
        source=common.SOURCE_RULES_AND_LLM,
        unsafe_score=0.75,
        seconds=0.1,
    )


def test_a_rewriting_goes_out_whole() -> None:
    rewriting = Rewriting(Verdict.BLOCK, "", False, (), Source.RULES, "why", "slow")
    assert convert.from_rewriting(rewriting, 0.1) == wire.RewritePromptResponse(
        verdict=common.VERDICT_BLOCK, source=common.SOURCE_RULES, reason="why", seconds=0.1, degraded="slow"
    )
