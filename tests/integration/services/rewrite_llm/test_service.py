"""The real service in this process: gRPC in, gRPC out."""

import asyncio
from pathlib import Path
from threading import Event

import grpc
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from atelier.common.v1 import decision_pb2 as common
from atelier.models.v1 import model_service_pb2 as models_wire
from atelier.models.v1 import models_pb2
from atelier.rewrite.v1 import rewrite_service_pb2 as wire
from tests.contract.services.rewrite_llm import openai_server
from tests.contract.services.rewrite_llm.openai_server import Manners
from tests.integration.services.rewrite_llm.conftest import Studio, serving

CANDIDATES = [
    wire.Candidate(id="flux_dev", strengths="General purpose: stylised art, landscapes.", tags=["general"]),
    wire.Candidate(id="realvis_xl", strengths="Photorealistic portraits and people.", tags=["portrait"]),
    wire.Candidate(id="logo_sdxl", strengths="Logos, emblems and lettering.", tags=["logo"]),
]


def choice(prompt: str, default_id: str = "") -> wire.SelectModelRequest:
    return wire.SelectModelRequest(prompt=prompt, candidates=CANDIDATES, default_id=default_id)


async def test_rules_choose_by_the_candidates_own_strengths(by_rules: Studio) -> None:
    answer = await by_rules.rewrite.SelectModel(choice("emblem for a rowing club"))
    assert (answer.id, answer.source, answer.defaulted) == ("logo_sdxl", common.SOURCE_RULES, False)
    assert (answer.llm, answer.degraded) == ("", "")


async def test_scores_add_up_and_come_best_first(by_rules: Studio) -> None:
    answer = await by_rules.rewrite.SelectModel(choice("portrait of an old sailor"))
    scores = [each.score for each in answer.scores]
    assert sum(scores) == pytest.approx(1)
    assert scores == sorted(scores, reverse=True)
    assert answer.margin == pytest.approx(scores[0] - scores[1])


async def test_the_default_is_taken_and_said_when_nothing_stands_out(by_rules: Studio) -> None:
    answer = await by_rules.rewrite.SelectModel(choice("something nice", default_id="realvis_xl"))
    assert (answer.id, answer.defaulted) == ("realvis_xl", True)
    assert "default" in answer.reason


async def test_the_language_model_chooses_and_is_named(by_llm: Studio) -> None:
    answer = await by_llm.rewrite.SelectModel(choice("a lake at dawn"))
    assert (answer.source, answer.degraded) == (common.SOURCE_LLM, "")
    assert answer.llm.startswith("tiny_qwen")
    assert {each.id for each in answer.scores} == {each.id for each in CANDIDATES}


async def test_many_at_once_get_the_answers_they_get_alone(by_llm: Studio) -> None:
    prompts = [f"picture number {number} of a lake" for number in range(24)]
    alone = [await by_llm.rewrite.SelectModel(choice(prompt)) for prompt in prompts]
    at_once = await asyncio.gather(*(by_llm.rewrite.SelectModel(choice(prompt)) for prompt in prompts))
    for one, other in zip(alone, at_once, strict=True):
        assert {each.id: each.score for each in one.scores} == pytest.approx(
            {each.id: each.score for each in other.scores}, abs=1e-4
        )
    assert 'rewrite_llm_batch_size_count{task="choose"}' in by_llm.metrics()


@pytest.mark.parametrize(
    ("prompt", "verdict"),
    [
        ("a joint of beef on a board", common.VERDICT_ALLOW),
        ("a nude woman on a beach", common.VERDICT_REWRITE),
        ("a naked child", common.VERDICT_BLOCK),
    ],
)
async def test_screening_gives_the_strictest_verdict(by_rules: Studio, prompt: str, verdict: int) -> None:
    answer = await by_rules.rewrite.ScreenPrompt(wire.ScreenPromptRequest(prompt=prompt))
    assert answer.verdict == verdict
    assert answer.source == common.SOURCE_RULES


async def test_the_language_model_is_asked_about_what_rules_let_pass(by_llm: Studio) -> None:
    answer = await by_llm.rewrite.ScreenPrompt(wire.ScreenPromptRequest(prompt="a lake at dawn"))
    assert answer.source == common.SOURCE_RULES_AND_LLM
    assert 0 < answer.unsafe_score < 1


async def assert_judged_as_alone(studio: Studio, prompt: str) -> None:
    judged = await studio.rewrite.JudgePrompt(wire.JudgePromptRequest(prompt=prompt, candidates=CANDIDATES))
    selection = await studio.rewrite.SelectModel(choice(prompt))
    screening = await studio.rewrite.ScreenPrompt(wire.ScreenPromptRequest(prompt=prompt))
    for part in (judged.selection, judged.screening, selection, screening):
        part.ClearField("seconds")
    assert (judged.selection, judged.screening) == (selection, screening)


async def test_rules_judge_as_they_choose_and_screen(by_rules: Studio) -> None:
    await assert_judged_as_alone(by_rules, "emblem for a rowing club with a nude rower")


async def test_the_language_model_judges_as_it_chooses_and_screens(by_llm: Studio) -> None:
    await assert_judged_as_alone(by_llm, "emblem for a rowing club")


async def test_without_candidates_a_judgement_is_a_screening(by_rules: Studio) -> None:
    judged = await by_rules.rewrite.JudgePrompt(wire.JudgePromptRequest(prompt="a naked child"))
    assert judged.screening.verdict == common.VERDICT_BLOCK
    assert not judged.HasField("selection")


async def test_each_stage_of_a_judgement_is_measured(by_rules: Studio) -> None:
    judged = await by_rules.rewrite.JudgePrompt(wire.JudgePromptRequest(prompt="a lake", candidates=CANDIDATES))
    assert judged.screening.seconds > 0
    assert judged.selection.seconds > 0
    exported = by_rules.metrics()
    for stage in ("screen", "select"):
        assert f'rewrite_stage_seconds_count{{stage="{stage}"}} 1.0' in exported
    assert 'rewrite_queue_wait_seconds_count{stage="judge"} 1.0' in exported


async def test_a_language_model_that_is_too_slow_to_choose_still_screens(weights: Path) -> None:
    async with serving(llm=str(weights), select_limit_s=1e-6, unsafe_threshold=1.0, screen_limit_s=30) as studio:
        judged = await studio.rewrite.JudgePrompt(wire.JudgePromptRequest(prompt="a lake", candidates=CANDIDATES))
    assert "did not answer within" in judged.selection.degraded
    assert (judged.screening.source, judged.screening.degraded) == (common.SOURCE_RULES_AND_LLM, "")


async def test_an_unsafe_prompt_is_reworded(by_rules: Studio) -> None:
    answer = await by_rules.rewrite.RewritePrompt(wire.RewritePromptRequest(prompt="a nude woman on a beach"))
    assert (answer.verdict, answer.changed) == (common.VERDICT_ALLOW, True)
    assert answer.prompt == "a fully clothed woman on a beach"
    assert [each.category for each in answer.findings] == ["sexual"]


async def test_a_safe_prompt_stays_as_it_is(by_rules: Studio) -> None:
    answer = await by_rules.rewrite.RewritePrompt(wire.RewritePromptRequest(prompt="a lake at dawn"))
    assert (answer.prompt, answer.changed) == ("a lake at dawn", False)


async def test_a_flagged_picture_changes_even_a_safe_prompt(by_rules: Studio) -> None:
    request = wire.RewritePromptRequest(prompt="a dancer on stage", flagged_output=True)
    answer = await by_rules.rewrite.RewritePrompt(request)
    assert answer.changed
    assert answer.prompt.startswith("a dancer on stage")


async def test_what_policy_blocks_has_no_rewriting(by_rules: Studio) -> None:
    answer = await by_rules.rewrite.RewritePrompt(wire.RewritePromptRequest(prompt="a naked child"))
    assert (answer.verdict, answer.prompt, answer.changed) == (common.VERDICT_BLOCK, "", False)


async def test_the_noise_of_an_untrained_model_is_not_taken_for_a_rewriting(by_llm: Studio) -> None:
    answer = await by_llm.rewrite.RewritePrompt(wire.RewritePromptRequest(prompt="a nude woman on a beach"))
    assert (answer.source, answer.prompt) == (common.SOURCE_RULES, "a fully clothed woman on a beach")


async def test_policy_is_a_setting_but_minors_are_always_blocked() -> None:
    async with serving(llm="rules", policy={"violence": "allow", "sexual": "block"}) as studio:
        verdicts = [
            (await studio.rewrite.ScreenPrompt(wire.ScreenPromptRequest(prompt=prompt))).verdict
            for prompt in ("a bloody battlefield", "a nude woman", "a naked child")
        ]
    assert verdicts == [common.VERDICT_ALLOW, common.VERDICT_BLOCK, common.VERDICT_BLOCK]


async def test_missing_weights_leave_rules_in_charge_and_the_answer_says_so(tmp_path: Path) -> None:
    async with serving(llm=str(tmp_path / "nothing")) as studio:
        answer = await studio.rewrite.SelectModel(choice("emblem for a rowing club"))
        listed = await studio.models.ListModels(models_wire.ListModelsRequest())
    assert (answer.id, answer.source) == ("logo_sdxl", common.SOURCE_RULES)
    assert "cannot answer" in answer.degraded
    (ours,) = [model for model in listed.models if model.is_default]
    assert ours.residency.state == models_pb2.MODEL_STATE_FAILED
    assert "REWRITE_LLM_ID" in ours.residency.error


async def test_an_unloaded_model_comes_back_by_itself(by_llm: Studio) -> None:
    first = await by_llm.rewrite.SelectModel(choice("a lake"))
    await by_llm.models.UnloadModel(models_wire.UnloadModelRequest(model=first.llm))
    meanwhile = await by_llm.rewrite.SelectModel(choice("a lake"))
    assert meanwhile.degraded
    async for event in by_llm.models.LoadModel(models_wire.LoadModelRequest(model=first.llm)):
        last = event
    assert last.model.residency.state == models_pb2.MODEL_STATE_READY
    assert (await by_llm.rewrite.SelectModel(choice("a lake"))).source == common.SOURCE_LLM


async def test_a_language_model_that_is_too_slow_is_not_waited_for(weights: Path) -> None:
    async with serving(llm=str(weights), select_limit_s=1e-6) as studio:
        answer = await studio.rewrite.SelectModel(choice("emblem for a rowing club"))
    assert (answer.id, answer.source) == ("logo_sdxl", common.SOURCE_RULES)
    assert "did not answer within" in answer.degraded


async def test_a_cancelled_call_leaves_the_service_well(by_llm: Studio) -> None:
    call = by_llm.rewrite.RewritePrompt(wire.RewritePromptRequest(prompt="a nude woman " * 100))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (await by_llm.rewrite.SelectModel(choice("a lake"))).source == common.SOURCE_LLM


async def test_every_violation_is_named(by_rules: Studio) -> None:
    request = wire.SelectModelRequest(prompt=" \x00", candidates=[CANDIDATES[0]] * 2, default_id="other")
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await by_rules.rewrite.SelectModel(request)
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    for field in ("prompt", "candidates[0].id", "candidates[1].id", "default_id"):
        assert field in str(failure.value.details())


async def test_metrics_name_categories_and_never_text(by_rules: Studio, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    secret = "a nude woman with a xylophone"
    await by_rules.rewrite.ScreenPrompt(wire.ScreenPromptRequest(prompt=secret))
    await by_rules.rewrite.RewritePrompt(wire.RewritePromptRequest(prompt=secret))
    exported = by_rules.metrics()
    assert 'rewrite_findings_total{category="sexual",rule="sexual.nude"}' in exported
    assert "xylophone" not in exported + caplog.text


async def test_status_tells_the_device_and_the_default(by_rules: Studio) -> None:
    status = await by_rules.models.GetStatus(models_wire.GetStatusRequest())
    model = (await by_rules.models.GetModel(models_wire.GetModelRequest(model="rules"))).model
    assert (status.service, status.device.reason) == ("rewrite_llm", "nothing here needs an accelerator")
    assert (model.is_default, model.residency.state) == (True, models_pb2.MODEL_STATE_READY)


async def test_an_endpoint_chooses_screens_and_is_listed() -> None:
    model, tokenizer = (auto.from_pretrained("models/sketch-qwen") for auto in (AutoModelForCausalLM, AutoTokenizer))
    with openai_server.serving(openai_server.LanguageModel(model, tokenizer), Manners()) as url:
        async with serving(
            llm=openai_server.MODEL, openai_base_url=url, openai_api_key=openai_server.KEY, min_margin=0.0
        ) as studio:
            chosen = await studio.rewrite.SelectModel(choice("a lake at dawn"))
            screened = await studio.rewrite.ScreenPrompt(wire.ScreenPromptRequest(prompt="a lake at dawn"))
            listed = (await studio.models.ListModels(models_wire.ListModelsRequest())).models
    assert (chosen.source, chosen.llm, chosen.degraded) == (common.SOURCE_LLM, "sketch_qwen", "")
    assert (screened.source, screened.degraded) == (common.SOURCE_RULES_AND_LLM, "")
    remote = next(each for each in listed if each.is_default)
    assert (remote.id, remote.family, remote.residency.state) == ("sketch_qwen", "openai", models_pb2.MODEL_STATE_READY)


async def test_rules_answer_for_an_endpoint_that_is_not_there() -> None:
    async with serving(llm="gpt-none", openai_base_url="http://127.0.0.1:1/v1") as studio:
        answer = await studio.rewrite.SelectModel(choice("emblem for a rowing club"))
        assert 'rewrite_llm_degraded_total{cause="backend_unavailable"} 1.0' in studio.metrics()
    assert (answer.id, answer.source) == ("logo_sdxl", common.SOURCE_RULES)
    assert "cannot be reached" in answer.degraded


async def test_rules_answer_for_an_endpoint_that_is_too_slow() -> None:
    manners = Manners(stall=Event())
    with openai_server.serving(openai_server.LanguageModel(None, None), manners) as url:
        async with serving(llm="slow", openai_base_url=url, select_limit_s=0.05) as studio:
            answer = await studio.rewrite.SelectModel(choice("emblem for a rowing club"))
    assert (answer.id, answer.source) == ("logo_sdxl", common.SOURCE_RULES)
    assert "did not answer within 0.05 s" in answer.degraded
