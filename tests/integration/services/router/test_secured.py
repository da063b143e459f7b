"""A router that knows its callers, before servers that know the router: keys in front, mutual TLS behind."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from atelier.common.v1 import decision_pb2
from atelier.imagegen.v1 import image_service_pb2
from atelier.voice.v1 import voice_pb2, voice_service_pb2
from servekit import context
from servekit.keys import new_key
from servekit.testing import local
from services.router.bootstrap import build
from services.router.settings import RouterSettings
from tests.authority import Authority
from tests.integration.services.router.conftest import Client, Imagegen, Rewrite, Voice, model, serving

_ROUTER = '[[caller]]\nname = "router"\nidentities = ["spiffe://atelier/router"]\nspeaks_for_others = true\n'
_ALL_ROLES = 'roles = ["user", "cloner", "operator"]\n'


class Witness(Voice):
    """A voice server whose only voice has the caller's name."""

    async def ListVoices(self, request: Any, context_: Any) -> voice_service_pb2.ListVoicesResponse:
        call = context.current()
        return voice_service_pb2.ListVoicesResponse(voices=[voice_pb2.Voice(id=f"{call.caller} via {call.via}")])


@dataclass
class Secured:
    """A client that may do what users may, and the servers behind the router."""

    client: Client
    imagegen: Imagegen
    rewrite: Rewrite
    key: str
    behind: Path
    """The callers file of the servers behind the router."""

    @property
    def shown(self) -> tuple[tuple[str, str], ...]:
        """Metadata with the client's key."""
        return (("authorization", f"Bearer {self.key}"),)


def _tls(authority: Authority, name: str, *alternatives: str) -> dict[str, Path]:
    pair = authority.issue(name, *alternatives)
    return {"tls_cert_file": pair.cert, "tls_key_file": pair.key}


@asynccontextmanager
async def _behind(
    authority: Authority, imagegen: Imagegen, rewrite: Rewrite, callers: Path | None
) -> AsyncIterator[dict[str, Any]]:
    """Serve those behind the router, with mutual TLS; yields the router's settings for them."""
    tls: dict[str, Any] = _tls(authority, "backend", "DNS:localhost", "IP:127.0.0.1")
    tls |= {"tls_client_ca_file": authority.file, "callers_file": callers}
    async with (
        serving(imagegen, **tls) as images_at,
        serving(rewrite, **tls) as rewrite_at,
        serving(Witness(), **tls) as voice_at,
    ):
        yield dict(
            port=0,
            imagegen_targets=images_at,
            voice_targets=f"dns:///localhost:{voice_at.rpartition(':')[2]}",
            rewrite_target=rewrite_at,
            decision_budget_s=5.0,
            probe_timeout_s=10.0,
            backend_ca_file=authority.file,
            **_tls(authority, "router", "URI:spiffe://atelier/router", "IP:127.0.0.1"),
        )


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[Secured]:
    authority, (key, stored) = Authority(tmp_path), new_key()
    behind, front = tmp_path / "behind.toml", tmp_path / "front.toml"
    behind.write_text(_ROUTER + _ALL_ROLES)
    front.write_text(f'[[caller]]\nname = "ann"\nkeys = ["{stored.text}"]\npriority = "low"')
    imagegen, rewrite = Imagegen([model("general"), model("other")]), Rewrite("general")
    credentials = grpc.ssl_channel_credentials(authority.file.read_bytes())
    async with (
        _behind(authority, imagegen, rewrite, behind) as settings,
        build(local(RouterSettings, **settings, callers_file=front)).serving() as address,
        grpc.aio.secure_channel(address, credentials) as channel,
    ):
        yield Secured(Client(channel), imagegen, rewrite, key, behind)


@pytest.fixture
async def by_certificates(tmp_path: Path) -> AsyncIterator[Client]:
    """A client with a certificate, at a studio that has mutual TLS everywhere and no callers file."""
    authority = Authority(tmp_path)
    cert, key = (file.read_bytes() for file in authority.issue("bob"))
    credentials = grpc.ssl_channel_credentials(authority.file.read_bytes(), key, cert)
    async with (
        _behind(authority, Imagegen([model("general")]), Rewrite("general"), None) as settings,
        build(local(RouterSettings, **settings, tls_client_ca_file=authority.file)).serving() as address,
        grpc.aio.secure_channel(address, credentials) as channel,
    ):
        yield Client(channel)


async def _pictures(secured: Secured) -> list[str]:
    call = secured.client.images.Generate(
        image_service_pb2.GenerateRequest(prompt="a lake"), timeout=20, metadata=secured.shown
    )
    return [str(event.WhichOneof("event")) async for event in call]


async def test_a_picture_is_made_for_a_caller_whose_key_goes_no_further(secured: Secured) -> None:
    events = await _pictures(secured)
    assert events[0] == "routed"
    assert events[-1] == "summary"
    (sent,) = secured.imagegen.metadata
    assert (sent["x-atelier-caller"], sent["x-atelier-priority"]) == ("ann", "low")
    assert "authorization" not in sent
    assert secured.rewrite.metadata[0]["x-atelier-caller"] == "ann"


async def test_the_servers_behind_know_for_whom_the_router_calls(secured: Secured) -> None:
    request = voice_service_pb2.ListVoicesRequest()
    answer = await secured.client.voice.ListVoices(request, timeout=20, metadata=secured.shown)
    assert [voice.id for voice in answer.voices] == ["ann via router"]


async def test_a_model_is_loaded_early_in_the_routers_own_name(secured: Secured) -> None:
    secured.rewrite.verdict = decision_pb2.VERDICT_REWRITE
    assert (await _pictures(secured))[-1] == "summary"
    assert secured.imagegen.loads == ["general"]


async def test_roles_are_checked_where_the_caller_comes_in(secured: Secured) -> None:
    request = voice_service_pb2.DeleteVoiceRequest(voice="x")
    with pytest.raises(grpc.aio.AioRpcError, match="lacks the role cloner") as caught:
        await secured.client.voice.DeleteVoice(request, timeout=20, metadata=secured.shown)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_nobody_comes_in_without_a_key(secured: Secured) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await secured.client.voice.ListVoices(voice_service_pb2.ListVoicesRequest(), timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_router_that_is_no_longer_known_is_not_the_callers_fault(
    secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("servekit.access.watched._LOOK_EVERY_S", 0.0)
    secured.behind.write_text("")
    with pytest.raises(grpc.aio.AioRpcError, match="the router's credentials") as caught:
        await secured.client.voice.ListVoices(voice_service_pb2.ListVoicesRequest(), timeout=20, metadata=secured.shown)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_with_certificates_alone_the_servers_behind_believe_the_router(by_certificates: Client) -> None:
    answer = await by_certificates.voice.ListVoices(voice_service_pb2.ListVoicesRequest(), timeout=20)
    assert [voice.id for voice in answer.voices] == ["bob via spiffe://atelier/router"]


async def test_with_certificates_alone_nobody_names_himself_to_the_router(by_certificates: Client) -> None:
    told = (("x-atelier-caller", "ann"), ("x-atelier-priority", "high"))
    with pytest.raises(grpc.aio.AioRpcError, match="bob may not speak for ann") as caught:
        await by_certificates.voice.ListVoices(voice_service_pb2.ListVoicesRequest(), timeout=20, metadata=told)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
