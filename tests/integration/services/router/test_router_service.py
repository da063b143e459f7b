from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from atelier.common.v1 import decision_pb2, types_pb2
from atelier.imagegen.v1 import image_service_pb2
from atelier.router.v1 import router_service_pb2
from servekit.errors import InvalidRequest, PermissionDenied, Violation
from tests.integration.services.router.conftest import Event, Imagegen, Studio, model, router_at, serving


async def route(studio: Studio, **fields: object) -> router_service_pb2.RouteResponse:
    request = image_service_pb2.GenerateRequest(**fields)  # type: ignore[arg-type]
    response: router_service_pb2.RouteResponse = await studio.client.router.Route(
        router_service_pb2.RouteRequest(request=request)
    )
    return response


async def test_a_dry_run_decides_and_plans_without_a_picture(studio: Studio) -> None:
    response = await route(studio, prompt="a portrait of a sailor")

    assert response.routed.model == response.plan.model == "portraits"
    assert response.eta_seconds == 7.0
    assert response.screening.verdict == decision_pb2.VERDICT_ALLOW
    assert [request.dry_run for request in studio.imagegen.requests] == [True]


async def test_a_dry_run_shows_the_rewriting(studio: Studio) -> None:
    studio.rewrite.verdict = decision_pb2.VERDICT_REWRITE

    response = await route(studio, prompt="a bloody garden")

    assert response.rewritten.prompt == "a safe garden"
    assert studio.imagegen.requests[0].prompt == "a safe garden"


async def test_a_dry_run_of_a_forbidden_prompt_shows_why(studio: Studio) -> None:
    studio.rewrite.verdict = decision_pb2.VERDICT_BLOCK

    response = await route(studio, prompt="blood")

    assert response.screening.findings[0].category == "violence"
    assert not response.HasField("plan")
    assert not studio.imagegen.requests


async def test_a_dry_run_of_a_prompt_without_a_safe_form_shows_what_was_found(studio: Studio) -> None:
    studio.rewrite.verdict, studio.rewrite.rewritten = decision_pb2.VERDICT_REWRITE, ""

    response = await route(studio, prompt="a bloody garden")

    assert response.screening.findings[0].category == "violence"
    assert not response.HasField("plan")
    assert not studio.imagegen.requests


async def test_a_dry_run_promises_nothing_where_screening_is_required() -> None:
    request = image_service_pb2.GenerateRequest(prompt="a garden")
    async with (
        serving(Imagegen([model("general")])) as images_at,
        router_at(images_at, require_screening=True) as client,
    ):
        with pytest.raises(grpc.aio.AioRpcError, match="could not be screened") as caught:
            await client.router.Route(router_service_pb2.RouteRequest(request=request))

    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("named", [{}, {"model": "nobody has it"}], ids=["chosen", "named"])
async def test_what_a_server_finds_wrong_is_named_as_what_the_router_does(
    studio: Studio, named: dict[str, str]
) -> None:
    async def refuses(_request: Any) -> AsyncIterator[Event]:
        yield Event(queued=types_pb2.Queued())
        raise InvalidRequest([Violation("count", "must be 1 to 8, not 9"), Violation("adapters[0].id", "no adapter")])

    studio.imagegen.script = refuses

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await route(studio, prompt="a portrait of a sailor", **named)

    status, bad = rpc_status.from_call(caught.value), error_details_pb2.BadRequest()
    assert status is not None and any(detail.Unpack(bad) for detail in status.details)
    assert [each.field for each in bad.field_violations] == ["request.count", "request.adapters[0].id"]
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_other_errors_of_a_server_end_a_dry_run_unchanged(studio: Studio) -> None:
    async def fails(_request: Any) -> AsyncIterator[Event]:
        yield Event(queued=types_pb2.Queued())
        raise PermissionDenied("not you")

    studio.imagegen.script = fails

    with pytest.raises(grpc.aio.AioRpcError, match="not you") as caught:
        await route(studio, prompt="a portrait of a sailor")

    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_the_servers_are_listed_with_what_they_have(studio: Studio) -> None:
    response = await studio.client.router.ListBackends(router_service_pb2.ListBackendsRequest())

    servers = {server.name: server for server in response.backends}
    assert list(servers) == ["imagegen-0", "rewrite_llm-0", "voice-0"]
    imagegen = servers["imagegen-0"]
    assert imagegen.state == router_service_pb2.BACKEND_STATE_SERVING
    assert [each.id for each in imagegen.models] == ["general", "portraits"]
    assert (imagegen.device.kind, imagegen.queued, imagegen.version) == ("cpu", 3, "1.2.3")


async def test_a_server_that_is_away_is_listed_as_unreachable() -> None:
    async with router_at() as client:
        response = await client.router.ListBackends(router_service_pb2.ListBackendsRequest())

    assert {server.state for server in response.backends} == {router_service_pb2.BACKEND_STATE_UNREACHABLE}


async def test_a_server_that_comes_up_later_is_found() -> None:
    imagegen = Imagegen([model("general")])
    async with serving(imagegen) as address:
        pass
    async with router_at(address, refresh_s=60) as client:
        port = int(address.rpartition(":")[2])
        async with serving(imagegen, port=port):
            response = await client.router.ListBackends(router_service_pb2.ListBackendsRequest())
            while response.backends[0].state != router_service_pb2.BACKEND_STATE_SERVING:
                response = await client.router.ListBackends(router_service_pb2.ListBackendsRequest())
            events = await client.events("a garden")

    assert events[-1].HasField("summary")
