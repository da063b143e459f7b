"""The edge with the real Envoy before the real studio: gRPC, JSON, gRPC-web, the limit, mutual TLS."""

import asyncio
import base64
import hashlib
import json
import struct
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from atelier.router.v1 import router_service_pb2, router_service_pb2_grpc
from atelier_client import AsyncClient, AtelierError
from deploy.envoy.descriptor import UnknownMethods, descriptor_set
from deploy.envoy.render import Address, render
from deploy.local.studio import Studio
from tests.authority import Authority
from tests.ops.envoy.edge import Edge, running
from tests.ops.tools import run
from tests.secured import Secured, secured

PROMPT = "a serene landscape with mountains and a lake at sunset"
ROUTE = "/atelier.router.v1.RouterService/Route"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def studio(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Studio]:
    async with Studio(tmp_path_factory.mktemp("studio")) as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    async with running(tmp_path_factory.mktemp("edge"), studio.address) as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Secured]:
    async with secured(tmp_path_factory.mktemp("guarded")) as started:
        yield started


def certificates(folder: Path, authority: Authority, name: str) -> Path:
    """Lay a certificate out as cert-manager does."""
    pair = authority.issue(name, f"DNS:{name}", "IP:127.0.0.1")
    folder.mkdir()
    for source, target in ((pair.cert, "tls.crt"), (pair.key, "tls.key"), (authority.file, "ca.crt")):
        (folder / target).write_bytes(source.read_bytes())
    return folder


@pytest.mark.parametrize("secure", [False, True])
async def test_envoy_accepts_the_configuration(tmp_path: Path, secure: bool) -> None:
    folder = certificates(tmp_path / "tls", Authority(tmp_path / "ca"), "edge") if secure else None
    here = Address("127.0.0.1", 0)
    path = render(tmp_path, here, Address("router-headless", 50051), here, downstream=folder, upstream=folder)
    assert "OK" in run("envoy", "--mode", "validate", "--config-path", path)


async def test_a_path_for_a_method_that_is_gone_is_refused() -> None:
    with pytest.raises(UnknownMethods, match=r"atelier\.router\.v1\.RouterService\.Gone"):
        descriptor_set({"atelier.router.v1.RouterService.Gone": {"get": "/v1/gone"}})


async def test_a_decision_in_json(edge: Edge) -> None:
    answer = await edge.call("/v1/route", {"request": {"prompt": PROMPT}})
    assert answer.code == 200
    assert answer.json()["routed"]["model"] == "sketch_landscape"


async def test_a_picture_in_json(edge: Edge) -> None:
    events = (await edge.call("/v1/images:generate", {"prompt": PROMPT, "seed": 7, "steps": 2})).json()
    header = next(each["image"] for each in events if "image" in each)
    data = b"".join(base64.b64decode(each["chunk"]["data"]) for each in events if "chunk" in each)
    assert header["sha256"] == hashlib.sha256(data).hexdigest()
    assert "summary" in events[-1]


async def test_queries_and_paths_become_fields(edge: Edge) -> None:
    voices = (await edge.call("/v1/voices?language=de")).json()["voices"]
    assert voices
    voice = (await edge.call(f"/v1/voices/{voices[0]['id']}")).json()["voice"]
    assert voice["id"] == voices[0]["id"]


async def test_an_error_in_json_keeps_its_reason_and_every_violation(edge: Edge) -> None:
    answer = await edge.call("/v1/images:generate", {"prompt": "", "negative_prompt": "x" * 5000})
    details = {each["@type"].rpartition(".")[2]: each for each in answer.json()["details"]}
    assert answer.code == 400
    assert details["ErrorInfo"]["reason"] == "INVALID_REQUEST"
    assert {each["field"] for each in details["BadRequest"]["field_violations"]} == {"prompt", "negative_prompt"}


@pytest.mark.parametrize(("path", "code"), [("/v1/nothing", 404), ("/v1/voices?colour=red", 400), ("/", 404)])
async def test_what_the_contract_does_not_know_is_refused(edge: Edge, path: str, code: int) -> None:
    assert (await edge.call(path)).code == code


async def test_grpc_passes_as_it_is(edge: Edge) -> None:
    async with AsyncClient(edge.address) as client:
        result = await client.image(PROMPT, seed=7, steps=2)
        spoken = await client.say("Through the edge.")
    assert result.pictures[0].data.startswith(b"\x89PNG")
    assert spoken.data.startswith(b"RIFF")


async def test_health_passes_and_reflection_does_not(edge: Edge) -> None:
    async with grpc.aio.insecure_channel(edge.address) as channel:
        health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        asked = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await asked.read()
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_browser_speaks_grpc_web(edge: Edge) -> None:
    request = router_service_pb2.RouteRequest()
    request.request.prompt = PROMPT
    message = request.SerializeToString()
    frame = struct.pack(">BI", 0, len(message)) + message
    answer = await edge.call(ROUTE, raw=frame, content_type="application/grpc-web+proto")
    flag, length = struct.unpack(">BI", answer.body[:5])
    trailers = answer.body[5 + length + 5 :]
    assert (answer.code, flag) == (200, 0)
    assert router_service_pb2.RouteResponse.FromString(answer.body[5 : 5 + length]).routed.model == "sketch_landscape"
    assert b"grpc-status:0" in trailers


async def test_nobody_from_outside_names_himself(edge: Edge, studio: Studio) -> None:
    async with grpc.aio.insecure_channel(edge.address) as channel:
        stub = router_service_pb2_grpc.RouterServiceStub(channel)
        request = router_service_pb2.ListBackendsRequest()
        call = stub.ListBackends(request, metadata=(("x-atelier-caller", "mallory"),))
        await call
        request_id = dict(await call.trailing_metadata())["x-request-id"]
    lines = map(json.loads, (studio.log_dir / "router.log").read_text().splitlines())
    assert [line["caller"] for line in lines if line.get("request_id") == request_id] == [""]


async def test_who_calls_too_often_is_told_so_in_his_own_protocol(studio: Studio, tmp_path: Path) -> None:
    async with running(tmp_path, studio.address, burst=2) as limited:
        codes = [(await limited.call("/v1/backends")).code for _ in range(3)]
        assert codes == [200, 200, 429]
        async with grpc.aio.insecure_channel(limited.address) as channel:
            stub = router_service_pb2_grpc.RouterServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.ListBackends(router_service_pb2.ListBackendsRequest())
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_caller_must_show_a_certificate_of_the_authority(studio: Studio, tmp_path: Path) -> None:
    ours, foreign = Authority(tmp_path / "ours"), Authority(tmp_path / "foreign")
    mine, other = ours.issue("caller"), foreign.issue("caller")
    folder = certificates(tmp_path / "tls", ours, "edge")
    async with running(tmp_path / "out", studio.address, downstream=folder) as secure:
        assert await _health(secure, ours, mine) == health_pb2.HealthCheckResponse.SERVING
        for pair in (None, other):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await _health(secure, ours, pair)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_mutual_tls_all_the_way_to_the_router(guarded: Secured, tmp_path: Path) -> None:
    tls = certificates(tmp_path / "tls", guarded.authority, "edge")
    async with (
        running(tmp_path / "out", guarded.studio.address, downstream=tls, upstream=tls) as edge,
        AsyncClient(edge.address, timeout=30, credentials=guarded.ann) as ann,
        AsyncClient(edge.address, timeout=30, credentials=replace(guarded.ann, api_key="")) as nobody,
    ):
        result = await ann.image(PROMPT, seed=7, steps=2)
        with pytest.raises(AtelierError) as caught:
            await nobody.image(PROMPT, steps=2)
    assert result.pictures[0].data.startswith(b"\x89PNG")
    assert caught.value.code == "UNAUTHENTICATED", "the edge's certificate is no key"


@pytest.mark.parametrize("flaw", ["in the clear", "a stranger to the router", "another authority's router"])
async def test_an_edge_and_a_router_that_do_not_trust_each_other(guarded: Secured, tmp_path: Path, flaw: str) -> None:
    ours, foreign = guarded.authority, Authority(tmp_path / "foreign")
    tls = certificates(tmp_path / "tls", foreign if flaw == "a stranger to the router" else ours, "edge")
    (tls / "ca.crt").write_bytes((foreign if flaw == "another authority's router" else ours).file.read_bytes())
    upstream = None if flaw == "in the clear" else tls
    async with running(tmp_path / "out", guarded.studio.address, upstream=upstream) as edge:
        assert (await edge.call("/v1/backends")).code == 503


async def _health(edge: Edge, authority: Authority, pair: object) -> int:
    cert, key = (path.read_bytes() for path in pair) if isinstance(pair, tuple) else (None, None)
    credentials = grpc.ssl_channel_credentials(authority.file.read_bytes(), key, cert)
    async with asyncio.timeout(20), grpc.aio.secure_channel(edge.address, credentials) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        return int(answer.status)
