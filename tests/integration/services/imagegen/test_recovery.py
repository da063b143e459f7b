"""The recovery ladder, driven by real failures."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from atelier.common.v1 import decision_pb2
from atelier.imagegen.v1 import imagegen_pb2
from atelier.rewrite.v1 import rewrite_service_pb2, rewrite_service_pb2_grpc
from servekit.errors import ModelUnavailable, PreconditionFailed
from tests.contract.services.imagegen import tiny_parts
from tests.integration.services.imagegen.conftest import Client, Outcome, Start

NON_FINITE, BLACK, UNSAFE = imagegen_pb2.CAUSE_NON_FINITE, imagegen_pb2.CAUSE_BLACK, imagegen_pb2.CAUSE_UNSAFE


def remedies(outcome: Outcome) -> list[str]:
    return [imagegen_pb2.Remedy.Name(each.attempt.remedy).removeprefix("REMEDY_") for each in outcome.of("retry")]


@pytest.mark.parametrize(("model", "cause"), [("nan_flux", NON_FINITE), ("black_flux", BLACK)])
async def test_a_broken_decoder_ends_in_blocked_and_never_in_a_black_picture(
    client: Client, model: str, cause: imagegen_pb2.Cause
) -> None:
    outcome = await client.generate(model=model)
    (blocked,) = outcome.of("blocked")

    assert (remedies(outcome), outcome.files) == (["NEXT_SEED"], [])
    assert [each.cause for each in blocked.attempts] == [cause, cause]
    assert (outcome.summary.images, outcome.summary.blocked) == (0, 1)


async def test_the_next_seed_is_one_that_no_other_picture_has(client: Client) -> None:
    outcome = await client.generate(model="nan_flux", count=2, seed=10)
    seeds = [[attempt.seed for attempt in each.attempts] for each in outcome.of("blocked")]

    assert sorted(seeds) == [[10, 12], [11, 13]]


async def test_in_half_precision_the_latents_are_decoded_again_in_full(client: Client) -> None:
    assert remedies(await client.generate(model="nan_in_bfloat16")) == ["DECODE_FP32", "NEXT_SEED", "DECODE_FP32"]


async def test_the_fallback_model_takes_over(client: Client) -> None:
    outcome = await client.generate(model="nan_with_fallback")
    expected = await client.generate(model="other_flux", seed=8)

    assert remedies(outcome) == ["NEXT_SEED", "FALLBACK_MODEL"]
    assert (outcome.summary.model, outcome.summary.images) == ("other_flux", 1)
    assert outcome.files == expected.files


async def test_the_fallback_model_starts_from_the_same_picture(client: Client) -> None:
    source = imagegen_pb2.SourceImage(data=(await client.generate()).files[0], strength=0.5)
    outcome = await client.generate(model="nan_with_fallback", source=source)
    expected = await client.generate(model="other_flux", source=source, seed=8)

    assert outcome.files == expected.files != []


async def test_a_fallback_that_cannot_start_from_a_picture_does_not_take_over(client: Client) -> None:
    source = imagegen_pb2.SourceImage(data=(await client.generate()).files[0])

    assert remedies(await client.generate(model="nan_with_lesser_fallback", source=source)) == ["NEXT_SEED"]


@pytest.mark.parametrize(
    ("fallback", "took_over"),
    [("absent_flux", False), ("huge_flux", False), ("bare_flux", False), ("torn_flux", True)],
)
async def test_a_fallback_that_cannot_be_had_ends_the_ladder_and_not_the_request(
    start: Start, fallback: str, took_over: bool
) -> None:
    client = await start(models=("*",), warm=())
    failed = f"nan_before_{fallback}"
    outcome = await client.generate(model=failed, count=2, steps=2)

    assert [[each.cause for each in blocked.attempts] for blocked in outcome.of("blocked")] == [[NON_FINITE] * 2] * 2
    assert (outcome.kinds[-1], outcome.summary.blocked) == ("summary", 2)
    assert outcome.summary.model == (fallback if took_over else failed)
    assert [each.field for each in outcome.summary.adjustments] == (["steps"] if took_over else [])


async def test_what_the_fallback_model_changes_is_reported(client: Client) -> None:
    outcome = await client.generate(model="nan_with_fallback", steps=2, width=100)

    assert [(each.field, each.used) for each in outcome.summary.adjustments if "other_flux" in each.reason] == [
        ("width", "64"),
        ("steps", "3"),
    ]
    assert outcome.summary.steps == 3


async def test_every_rung_is_counted(client: Client) -> None:
    await client.generate(model="nan_with_fallback")
    failed, took = "nan_with_fallback", "other_flux"

    assert client.metric("imagegen_verdicts_total", model=failed, verdict="non_finite") == 2
    assert client.metric("imagegen_retries_total", model=failed, remedy="next_seed") == 1
    assert client.metric("imagegen_fallbacks_total", from_model=failed, to_model=took) == 1
    assert client.metric("imagegen_recoveries_total", model=took, remedy="fallback_model") == 1


class Rewriting(rewrite_service_pb2_grpc.RewriteServiceServicer):
    """Answers every prompt with a safe one."""

    def __init__(self, verdict: decision_pb2.Verdict.ValueType) -> None:
        self.asked: list[rewrite_service_pb2.RewritePromptRequest] = []
        self._verdict = verdict

    async def SelectModel(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def ScreenPrompt(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def JudgePrompt(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def RewritePrompt(
        self, request: rewrite_service_pb2.RewritePromptRequest, context: Any
    ) -> rewrite_service_pb2.RewritePromptResponse:
        self.asked.append(request)
        return rewrite_service_pb2.RewritePromptResponse(
            verdict=self._verdict, prompt="a blue tree", changed=True, reason="calmer", source=decision_pb2.SOURCE_LLM
        )


@pytest.fixture
def verdict() -> decision_pb2.Verdict.ValueType:
    return decision_pb2.VERDICT_ALLOW


@pytest.fixture
async def rewriting(verdict: decision_pb2.Verdict.ValueType) -> AsyncIterator[tuple[Rewriting, str]]:
    servicer, server = Rewriting(verdict), grpc.aio.server()
    rewrite_service_pb2_grpc.add_RewriteServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield servicer, f"127.0.0.1:{port}"
    await server.stop(None)


@pytest.fixture(scope="session")
def firing(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_parts.save_classifier(tmp_path_factory.mktemp("firing"), fires=True))


@pytest.fixture(scope="session")
def silent(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_parts.save_classifier(tmp_path_factory.mktemp("silent"), fires=False))


async def test_a_flagged_picture_is_made_again_from_a_safer_prompt(
    start: Start, firing: str, rewriting: tuple[Rewriting, str]
) -> None:
    servicer, address = rewriting
    client = await start(nsfw_model=firing, rewrite_address=address)
    outcome = await client.generate()

    assert (remedies(outcome), outcome.files) == (["REWRITE"], [])
    assert [(each.prompt, each.flagged_output) for each in servicer.asked] == [("a red lake", True)]
    assert outcome.of("rewritten")[0].prompt == "a blue tree"
    assert [each.cause for each in outcome.of("blocked")[0].attempts] == [UNSAFE, UNSAFE]


@pytest.mark.parametrize("verdict", [decision_pb2.VERDICT_BLOCK])
async def test_without_a_safe_form_the_ladder_goes_on(
    start: Start, firing: str, rewriting: tuple[Rewriting, str]
) -> None:
    client = await start(nsfw_model=firing, rewrite_address=rewriting[1])

    assert remedies(await client.generate()) == []


async def test_a_rewriter_that_is_down_costs_the_rung_and_not_the_request(start: Start, firing: str) -> None:
    client = await start(nsfw_model=firing, rewrite_address="127.0.0.1:1", rewrite_timeout_s=0.2)

    assert (await client.generate()).kinds[-2:] == ["blocked", "summary"]


async def test_a_flagged_picture_can_be_sent_with_its_verdict(start: Start, firing: str) -> None:
    client = await start(nsfw_model=firing)
    outcome = await client.generate(safety=imagegen_pb2.SAFETY_POLICY_FLAG)
    verdict = outcome.of("image")[0].safety

    assert (verdict.flagged, verdict.score > 0.9, verdict.threshold) == (True, True, 0.5)


async def test_a_picture_that_is_blocked_is_not_seen_on_its_way(start: Start, firing: str) -> None:
    client = await start(nsfw_model=firing)
    blocked = await client.generate(preview_every=1)
    flagged = await client.generate(preview_every=1, safety=imagegen_pb2.SAFETY_POLICY_FLAG)

    assert (blocked.kinds[-2:], blocked.of("preview")) == (["blocked", "summary"], [])
    assert [(each.field, each.used) for each in blocked.summary.adjustments] == [("preview_every", "0")]
    assert (len(flagged.of("preview")), list(flagged.summary.adjustments)) == (2, [])


async def test_who_relies_on_a_classifier_that_there_is_not_is_told(start: Start) -> None:
    client = await start()
    outcome = await client.generate(safety=imagegen_pb2.SAFETY_POLICY_BLOCK)

    assert [(each.field, each.requested) for each in outcome.summary.adjustments] == [("safety", "block")]
    assert not outcome.of("image")[0].HasField("safety")
    assert outcome.files == (await client.generate()).files


async def test_with_permission_the_check_does_not_run(start: Start, firing: str) -> None:
    client = await start(nsfw_model=firing, may_ignore_safety=True)
    outcome = await client.generate(safety=imagegen_pb2.SAFETY_POLICY_IGNORE)

    assert not outcome.of("image")[0].HasField("safety")


async def test_a_picture_that_passes_says_so(start: Start, silent: str) -> None:
    client = await start(nsfw_model=silent)
    verdict = (await client.generate()).of("image")[0].safety

    assert (verdict.flagged, verdict.score < 0.1) == (False, True)


async def test_a_classifier_without_an_unsafe_label_stops_the_start(start: Start, silent: str) -> None:
    with pytest.raises(PreconditionFailed, match="normal, nsfw"):
        await start(nsfw_model=silent, nsfw_classes=("hot",))


async def test_a_classifier_that_may_not_be_downloaded_stops_the_start(start: Start) -> None:
    with pytest.raises(ModelUnavailable, match="the safety classifier: me/judge is not in the hub's cache"):
        await start(nsfw_model="me/judge", download=False)


def test_the_classifier_is_a_folder(silent: str) -> None:
    assert (Path(silent) / "model.safetensors").exists()
