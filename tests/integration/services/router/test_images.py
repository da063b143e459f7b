import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from atelier.common.v1 import decision_pb2, types_pb2
from atelier.imagegen.v1 import image_service_pb2, imagegen_pb2
from atelier.models.v1 import models_pb2
from servekit.errors import DeviceOutOfMemory, ModelUnavailable, ServingError
from services.router.domain import UnknownModel
from tests.integration.services.router.conftest import (
    PICTURE,
    Event,
    Imagegen,
    Rewrite,
    Studio,
    model,
    picture_events,
    router_at,
    serving,
)


def kinds(events: list[Event]) -> list[str | None]:
    return [event.WhichOneof("event") for event in events]


async def first(events: AsyncIterable[Event], count: int) -> AsyncIterator[Event]:
    iterator = aiter(events)
    for _ in range(count):
        yield await anext(iterator)


def info(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo:
    details = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(error)
    assert status is not None
    assert any(detail.Unpack(details) for detail in status.details)
    return details


async def _at_once() -> None:
    """Wait for nothing."""


async def failure(events: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await events
    return caught.value


async def test_every_event_passes_in_order_after_the_decision(studio: Studio) -> None:
    events = await studio.client.events("a portrait of a sailor")

    assert events[0].routed.model == "portraits"
    assert events[0].routed.backend == "imagegen-0"
    assert events[1:-1] == picture_events("portraits")[:-1]
    assert b"".join(event.chunk.data for event in events) == PICTURE


async def test_what_this_router_does_not_know_passes(studio: Studio) -> None:
    newer = Event.FromString(b"\xf2\x07\x02hi")

    async def script(_request: Any) -> AsyncIterator[Event]:
        yield newer
        yield Event(summary=image_service_pb2.Summary(images=1))

    studio.imagegen.script = script

    events = await studio.client.events("a portrait of a sailor")

    assert events[1] == newer


async def test_the_summary_counts_the_stages_of_the_router_in(studio: Studio) -> None:
    events = await studio.client.events("a portrait of a sailor")

    stages = [stage.stage for stage in events[-1].summary.stages]
    assert stages == ["judge", "denoise"]


async def test_a_prompt_that_is_only_screened_has_that_as_its_stage(studio: Studio) -> None:
    events = await studio.client.events("a portrait of a sailor", model="general")

    stages = [stage.stage for stage in events[-1].summary.stages]
    assert stages == ["screen", "denoise"]


async def test_an_explicit_model_is_screened_but_not_selected(studio: Studio) -> None:
    studio.rewrite.verdict = decision_pb2.VERDICT_BLOCK

    error = await failure(studio.client.events("blood", model="general"))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert info(error).reason == "PROMPT_BLOCKED"
    assert dict(info(error).metadata) == {"rule_id": "violence.gore", "category": "violence"}
    assert [len(request.candidates) for request in studio.rewrite.judged] == [0]


async def test_one_question_settles_model_and_screening(studio: Studio) -> None:
    await studio.client.events("a portrait of a sailor")

    (judged,) = studio.rewrite.judged
    assert (judged.prompt, judged.default_id) == ("a portrait of a sailor", "general")
    assert [each.id for each in judged.candidates] == ["general", "portraits"]


async def test_an_unsafe_prompt_is_rewritten_and_the_caller_told(studio: Studio) -> None:
    studio.rewrite.verdict = decision_pb2.VERDICT_REWRITE

    events = await studio.client.events("a bloody garden")

    assert kinds(events)[:2] == ["routed", "rewritten"]
    assert events[1].rewritten.original == "a bloody garden"
    assert events[1].rewritten.prompt == "a safe garden"
    assert studio.imagegen.requests[0].prompt == "a safe garden"


async def test_the_model_is_loaded_while_the_prompt_is_rewritten(studio: Studio) -> None:
    studio.rewrite.verdict = decision_pb2.VERDICT_REWRITE

    await studio.client.events("a bloody garden")

    assert studio.imagegen.loads == ["portraits"]


async def test_a_dry_run_loads_nothing(studio: Studio) -> None:
    studio.rewrite.verdict = decision_pb2.VERDICT_REWRITE

    events = await studio.client.events("a bloody garden", dry_run=True)

    assert kinds(events) == ["routed", "rewritten", "plan", "summary"]
    assert not studio.imagegen.loads


async def test_a_request_that_forbids_rewriting_is_refused(studio: Studio) -> None:
    studio.rewrite.verdict = decision_pb2.VERDICT_REWRITE

    error = await failure(studio.client.events("a bloody garden", no_rewrite=True))

    assert info(error).reason == "PROMPT_BLOCKED"


async def test_a_prompt_without_a_safe_form_is_refused(studio: Studio) -> None:
    studio.rewrite.verdict, studio.rewrite.rewritten = decision_pb2.VERDICT_REWRITE, ""

    error = await failure(studio.client.events("a bloody garden"))

    assert info(error).reason == "PROMPT_BLOCKED"


async def test_a_rewriting_that_is_nonsense_never_lets_the_prompt_through(studio: Studio) -> None:
    studio.rewrite.verdict, studio.rewrite.rewritten = decision_pb2.VERDICT_REWRITE, "x" * 5000

    error = await failure(studio.client.events("a bloody garden"))

    assert info(error).reason == "BACKEND_UNAVAILABLE"
    assert not studio.imagegen.requests


async def test_errors_of_the_server_arrive_unchanged(studio: Studio) -> None:
    async def fails(_request: Any) -> AsyncIterator[Event]:
        yield Event(queued=types_pb2.Queued())
        raise DeviceOutOfMemory(wanted_bytes=10, free_bytes=3)

    studio.imagegen.script = fails

    error = await failure(studio.client.events("a portrait"))

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert info(error).reason == "DEVICE_OUT_OF_MEMORY"
    assert dict(info(error).metadata) == {"wanted_bytes": "10", "free_bytes": "3"}


async def test_cancelling_reaches_the_server(studio: Studio) -> None:
    async def never_ends(_request: Any) -> AsyncIterator[Event]:
        yield Event(queued=types_pb2.Queued())
        await asyncio.Event().wait()

    studio.imagegen.script = never_ends
    call = studio.client.images.Generate(image_service_pb2.GenerateRequest(prompt="a portrait"))
    assert kinds([event async for event in first(call, 2)]) == ["routed", "queued"]

    call.cancel()

    await asyncio.wait_for(studio.imagegen.ended.wait(), 5)


async def test_cancelling_a_decision_reaches_the_judge(studio: Studio) -> None:
    asked, ended = asyncio.Event(), asyncio.Event()

    async def hangs() -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    studio.rewrite.ready = hangs
    call = studio.client.images.Generate(image_service_pb2.GenerateRequest(prompt="a portrait"))
    reading = asyncio.ensure_future(anext(aiter(call)))
    await asked.wait()

    call.cancel()

    await asyncio.wait_for(ended.wait(), 5)
    await asyncio.wait([reading])


async def test_request_id_caller_and_the_rest_of_the_deadline_go_along(studio: Studio) -> None:
    metadata = (("x-request-id", "abc-123"), ("x-atelier-caller", "ann"), ("authorization", "Bearer t"))
    request = image_service_pb2.GenerateRequest(prompt="a portrait")

    async for _ in studio.client.images.Generate(request, timeout=10, metadata=metadata):
        pass

    sent = studio.imagegen.metadata[0]
    assert sent["x-request-id"] == studio.rewrite.metadata[0]["x-request-id"] == "abc-123"
    assert sent["x-atelier-caller"] == studio.rewrite.metadata[0]["x-atelier-caller"] == "ann"
    assert "authorization" not in sent
    remaining_s = studio.imagegen.remaining_s[0]
    assert remaining_s is not None
    assert remaining_s < 10


@pytest.mark.parametrize(
    ("taken", "size"),
    [(1 << 20, 2 << 20), (4 << 20, 4 << 20)],
    ids=["by-the-server", "by-the-router-once-it-names-the-model"],
)
async def test_a_request_that_does_not_fit_is_told_so_and_not_to_come_back(taken: int, size: int) -> None:
    imagegen = Imagegen([model("general", capabilities=["image_to_image"])])
    picture = b"x" * (size - 20)  # the rest of the request is a prompt and what frames it
    async with serving(imagegen, max_message_bytes=taken) as images_at, router_at(images_at) as client:
        error = await failure(client.events("a lake", source=imagegen_pb2.SourceImage(data=picture)))

    assert (error.code(), info(error).reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert "larger than what imagegen-0 takes at once" in str(error.details())


async def test_bad_input_is_refused_with_every_violation(studio: Studio) -> None:
    error = await failure(studio.client.events("", width=0, guidance=float("nan"), allowed_models=["general"]))

    status = rpc_status.from_call(error)
    assert status is not None
    bad = error_details_pb2.BadRequest()
    assert any(detail.Unpack(bad) for detail in status.details)
    assert {each.field for each in bad.field_violations} == {"prompt", "width", "guidance"}


async def test_an_unknown_model_names_the_nearest(studio: Studio) -> None:
    error = await failure(studio.client.events("a portrait", model="portrait"))

    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert info(error).reason == "UNKNOWN_MODEL"
    assert "portraits" in info(error).metadata["nearest"]


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (ModelUnavailable("flux_dev is not offered here: add it to `models`"), grpc.StatusCode.FAILED_PRECONDITION),
        (UnknownModel("model", "flux_dev", nearest=["flux_schnell"]), grpc.StatusCode.NOT_FOUND),
    ],
    ids=["not-offered", "unknown"],
)
async def test_a_model_that_nobody_lists_is_refused_in_the_words_of_the_server(
    studio: Studio, refusal: ServingError, code: grpc.StatusCode
) -> None:
    async def refuses(_request: Any) -> AsyncIterator[Event]:
        yield Event(queued=types_pb2.Queued())
        raise refusal

    studio.imagegen.script = refuses

    error = await failure(studio.client.events("a portrait", model="flux_dev"))

    assert (error.code(), info(error).reason, error.details()) == (code, refusal.reason, refusal.message)
    assert dict(info(error).metadata) == refusal.metadata()
    assert [(request.model, request.dry_run) for request in studio.imagegen.requests] == [("flux_dev", True)]
    assert not studio.rewrite.judged


@pytest.mark.parametrize("budget_s", [0.05])
async def test_a_slow_judge_is_not_waited_for(budget_s: float) -> None:
    imagegen = Imagegen([model("general", is_default=True), model("portraits", tags=["portrait"])])
    rewrite = Rewrite(ready=asyncio.Event().wait)  # type: ignore[arg-type]
    async with (
        serving(imagegen) as images_at,
        serving(rewrite) as rewrite_at,
        router_at(images_at, rewrite_at, decision_budget_s=budget_s) as client,
    ):
        events = await client.events("a portrait of a sailor", safety=imagegen_pb2.SAFETY_POLICY_IGNORE)

    assert events[0].routed.model == "portraits"
    assert events[0].routed.source == decision_pb2.SOURCE_RULES
    assert "did not answer within 50 ms" in events[0].routed.degraded
    assert imagegen.requests[0].safety == imagegen_pb2.SAFETY_POLICY_BLOCK


async def test_a_judge_that_is_slow_again_and_again_is_given_a_pause() -> None:
    imagegen = Imagegen([model("general", is_default=True), model("portraits", tags=["portrait"])])
    rewrite = Rewrite(ready=asyncio.Event().wait)  # type: ignore[arg-type]
    async with (
        serving(imagegen) as images_at,
        serving(rewrite) as rewrite_at,
        router_at(images_at, rewrite_at, decision_budget_s=0.05, judge_pause_s=60) as client,
    ):
        told = [(await client.events("a portrait", dry_run=True))[0].routed.degraded for _ in range(6)]

    assert all("did not answer within 50 ms" in each for each in told[:5])
    assert "given a pause" in told[5]


async def test_a_judge_gets_another_chance_after_the_pause() -> None:
    imagegen = Imagegen([model("general", is_default=True), model("portraits", tags=["portrait"])])
    rewrite = Rewrite(ready=asyncio.Event().wait)  # type: ignore[arg-type]
    async with (
        serving(imagegen) as images_at,
        serving(rewrite) as rewrite_at,
        router_at(images_at, rewrite_at, decision_budget_s=0.2, judge_pause_s=0.001) as client,
    ):
        for _ in range(5):
            await client.events("a portrait", dry_run=True)
        rewrite.ready = _at_once
        routed = (await client.events("a portrait", dry_run=True))[0].routed

    assert routed.source == decision_pb2.SOURCE_LLM


async def test_a_judge_that_is_not_healthy_is_not_asked(studio: Studio) -> None:
    server = grpc.aio.server()
    studio.rewrite.register(server)
    servicer = health.aio.HealthServicer()
    await servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with (
        serving(studio.imagegen) as images_at,
        router_at(images_at, f"127.0.0.1:{port}", decision_budget_s=5.0) as client,
    ):
        events = await client.events("a portrait of a sailor")
    await server.stop(None)

    assert "rewrite_llm is not reachable" in events[0].routed.degraded
    assert not studio.rewrite.metadata


async def test_without_a_judge_rules_decide_and_say_so() -> None:
    imagegen = Imagegen([model("general", is_default=True), model("portraits", tags=["portrait"])])
    async with serving(imagegen) as images_at, router_at(images_at) as client:
        events = await client.events("a portrait of a sailor")

    assert "rewrite_llm is not reachable" in events[0].routed.degraded
    assert kinds(events)[-1] == "summary"


async def test_without_a_judge_the_worst_is_still_refused() -> None:
    imagegen = Imagegen([model("general", is_default=True)])
    async with serving(imagegen) as images_at, router_at(images_at) as client:
        error = await failure(client.events("a nude child"))

    assert info(error).metadata["category"] == "minors"


async def test_a_deployment_may_insist_on_screening() -> None:
    imagegen = Imagegen([model("general", is_default=True)])
    async with serving(imagegen) as images_at, router_at(images_at, require_screening=True) as client:
        error = await failure(client.events("a garden"))

    assert info(error).reason == "BACKEND_UNAVAILABLE"


async def test_nonsense_from_the_judge_is_not_believed(studio: Studio) -> None:
    studio.rewrite.shares = {"general": 0.4, "portraits": float("nan")}

    events = await studio.client.events("a portrait of a sailor", safety=imagegen_pb2.SAFETY_POLICY_IGNORE)

    assert "nonsense" in events[0].routed.degraded
    assert events[0].routed.source == decision_pb2.SOURCE_RULES
    assert studio.imagegen.requests[0].safety == imagegen_pb2.SAFETY_POLICY_BLOCK


async def test_a_judge_that_forgets_a_part_of_its_answer_is_not_believed(studio: Studio) -> None:
    studio.rewrite.verdict = decision_pb2.VERDICT_UNSPECIFIED

    events = await studio.client.events("a portrait of a sailor", model="general")

    assert "nonsense" in events[0].routed.degraded


async def test_without_an_image_server_the_caller_is_told_when_to_retry() -> None:
    async with router_at() as client:
        error = await failure(client.events("a garden"))

    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert info(error).reason == "BACKEND_UNAVAILABLE"


async def test_the_loaded_one_of_two_close_models_is_taken() -> None:
    unloaded = model("portraits", state=models_pb2.MODEL_STATE_UNLOADED)
    imagegen = Imagegen([model("general", is_default=True), unloaded])
    rewrite = Rewrite(shares={"general": 0.45, "portraits": 0.55})
    async with (
        serving(imagegen) as images_at,
        serving(rewrite) as rewrite_at,
        router_at(images_at, rewrite_at, decision_budget_s=5.0) as client,
    ):
        events = await client.events("a portrait of a sailor")

    assert events[0].routed.model == "general"
    assert "portraits suits about as well, but general can start sooner" in events[0].routed.reason


async def test_sixty_four_streams_at_once_lose_nothing(studio: Studio) -> None:
    results = await asyncio.gather(*(studio.client.events("a portrait", seed=index) for index in range(64)))

    assert all(b"".join(event.chunk.data for event in events) == PICTURE for events in results)
    assert {request.seed for request in studio.imagegen.requests} == set(range(64))


async def test_more_calls_than_allowed_are_refused_with_a_hint() -> None:
    imagegen = Imagegen([model("general")])
    reached = asyncio.Event()

    async def hangs(_request: Any) -> AsyncIterator[Event]:
        reached.set()
        await asyncio.Event().wait()
        yield Event()

    imagegen.script = hangs
    async with serving(imagegen) as images_at, router_at(images_at, max_calls=1) as client:
        first = asyncio.create_task(client.events("a garden"))
        await reached.wait()
        error = await failure(client.events("a garden"))
        first.cancel()

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert info(error).reason == "OVERLOADED"
