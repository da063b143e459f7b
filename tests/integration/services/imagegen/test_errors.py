"""What is refused, how it is said, and that the server is as before afterwards."""

import asyncio
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from atelier.imagegen.v1 import image_service_pb2, imagegen_pb2
from atelier.models.v1 import model_service_pb2
from servekit import testing
from tests.integration.services.imagegen.conftest import Client, Start


def detail(error: grpc.aio.AioRpcError, kind: Any) -> Any:
    status = rpc_status.from_call(error)
    assert status is not None
    for packed in status.details:
        message = kind()
        if packed.Unpack(message):
            return message
    raise AssertionError(f"no {kind.__name__} in {status}")


async def refused(client: Client, **request: Any) -> tuple[grpc.StatusCode, str, grpc.aio.AioRpcError]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.generate(**request)
    return caught.value.code(), detail(caught.value, error_details_pb2.ErrorInfo).reason, caught.value


@pytest.mark.parametrize(
    ("request_", "code", "reason"),
    [
        ({"prompt": ""}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
        ({"prompt": "x" * 1_000_000}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
        ({"width": 0}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
        ({"guidance": float("nan")}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
        ({"count": 10_000}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
        ({"scheduler": "none such"}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
        ({"adapters": [imagegen_pb2.Adapter(id="x")]}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
        (
            {"safety": imagegen_pb2.SAFETY_POLICY_IGNORE},
            grpc.StatusCode.PERMISSION_DENIED,
            "PERMISSION_DENIED",
        ),
        ({"model": "tiny_fluks"}, grpc.StatusCode.NOT_FOUND, "UNKNOWN_MODEL"),
        ({"model": "absent_flux"}, grpc.StatusCode.FAILED_PRECONDITION, "MODEL_UNAVAILABLE"),
        ({"model": "flux_dev"}, grpc.StatusCode.FAILED_PRECONDITION, "MODEL_UNAVAILABLE"),
    ],
)
async def test_a_request_that_cannot_be_served_is_refused(
    client: Client, request_: dict[str, Any], code: grpc.StatusCode, reason: str
) -> None:
    assert (await refused(client, **request_))[:2] == (code, reason)


async def test_all_violations_are_told_at_once(client: Client) -> None:
    _, _, error = await refused(client, prompt="", width=-5, steps=0, count=0)
    violations = detail(error, error_details_pb2.BadRequest).field_violations

    assert [each.field for each in violations] == ["prompt", "width", "steps", "count"]
    assert "16 to 4096" in violations[1].description


async def test_an_unknown_model_is_answered_with_the_nearest(client: Client) -> None:
    _, _, error = await refused(client, model="tiny_fluks")

    assert "tiny_flux" in detail(error, error_details_pb2.ErrorInfo).metadata["nearest"]


@pytest.mark.parametrize(("model", "fix"), [("absent_flux", "models_dir"), ("distant_flux", "download")])
async def test_weights_that_cannot_be_had_say_how_to_get_them(start: Start, model: str, fix: str) -> None:
    client = await start(models=("*",), warm=("tiny_flux",))
    code, reason, error = await refused(client, model=model)

    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_UNAVAILABLE")
    assert fix in str(error.details())


async def test_the_rest_is_served_while_one_model_cannot_be_had(start: Start) -> None:
    client = await start(models=("*",), warm=("tiny_flux", "absent_flux"))

    assert (await client.generate(model="tiny_flux")).summary.images == 1


async def test_a_deadline_that_cannot_be_met_is_refused_before_any_work(client: Client) -> None:
    await client.generate(steps=50)
    steps = client.metric("imagegen_steps_total", model="tiny_flux")
    long: dict[str, Any] = {"steps": 50, "count": 8, "width": 64, "height": 64}
    [planned] = (await client.generate(**long, dry_run=True)).of("plan")
    message = image_service_pb2.GenerateRequest(prompt="a", **long)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in client.images.Generate(message, timeout=planned.eta_seconds / 2):
            pass

    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert detail(caught.value, error_details_pb2.ErrorInfo).reason == "DEADLINE_TOO_SHORT"
    assert client.metric("imagegen_steps_total", model="tiny_flux") == steps


async def test_a_full_queue_says_when_to_come_back(start: Start) -> None:
    client = await start(max_running=1, queue_limit=0)
    message = image_service_pb2.GenerateRequest(prompt="a", steps=50, preview_every=1)
    first = client.images.Generate(message, timeout=60)
    event: Any = await first.read()
    while not event.HasField("preview"):  # progress may come with the last step only
        event = await first.read()
    code, reason, error = await refused(client)
    first.cancel()

    assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert detail(error, error_details_pb2.RetryInfo).retry_delay.ToTimedelta().total_seconds() > 0


async def test_whoever_waits_hears_of_it(start: Start) -> None:
    client = await start(max_running=1)
    first, second = await asyncio.gather(client.generate(steps=20), client.generate(steps=20))

    assert sorted([len(first.of("queued")), len(second.of("queued"))]) == [0, 1]


async def until_idle(client: Client) -> None:
    """Ask until nothing runs and no model is in use; the test's own timeout ends a server that never is."""
    while True:
        status = await client.models.GetStatus(model_service_pb2.GetStatusRequest())
        models = await client.models.ListModels(model_service_pb2.ListModelsRequest())
        if not status.running and not any(each.residency.leases for each in models.models):
            return


@pytest.mark.parametrize("stage", ["loading", "preview"])
async def test_a_caller_who_leaves_stops_the_work(client: Client, stage: str) -> None:
    message = image_service_pb2.GenerateRequest(prompt="a", steps=50, count=8, model="other_flux", preview_every=1)
    call = client.images.Generate(message, timeout=60)
    async for event in call:
        if event.WhichOneof("event") == stage:
            break
    call.cancel()

    await until_idle(client)
    assert client.metric("imagegen_images_total", model="other_flux", outcome="sent") == 0


async def test_the_server_is_as_before_after_a_storm_of_nonsense(client: Client) -> None:
    before = await client.generate()
    await until_idle(client)
    tasks = testing.tasks()
    requests: list[dict[str, Any]] = [{"prompt": ""}, {"model": "no"}, {"steps": -1}, {"model": "absent_flux"}] * 10
    results = await asyncio.gather(*(client.generate(**each) for each in requests), return_exceptions=True)

    assert all(isinstance(each, grpc.aio.AioRpcError) for each in results)
    await until_idle(client)
    assert (await client.generate()).files == before.files
    await testing.ended(since=tasks)
