"""Calls from one service to the next, over what the first knows of itself."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from prometheus_client import CollectorRegistry

from servekit import context
from servekit.app import App
from servekit.calls import ServicerContext
from servekit.channels import Link
from servekit.settings import BackendSettings, ServerSettings
from servekit.testing import Toy, ToyClient, echo, local
from tests.authority import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
async def port(authority: Authority) -> AsyncIterator[str]:
    """The port of a server named `backend.test` that answers with its caller's certificate and key."""
    cert, key = authority.issue("backend", "DNS:backend.test")
    settings = local(ServerSettings, tls_cert_file=cert, tls_key_file=key, tls_client_ca_file=authority.file)

    async def who(text: str) -> str:
        return context.current().caller

    async with App(
        settings, Toy(who).register, registry=CollectorRegistry(), authenticate=_credentials
    ).serving() as address:
        yield address.rpartition(":")[2]


def _credentials(call: ServicerContext) -> str:
    names = [name.decode() for name in call.peer_identities() or ()]
    shown = [str(value) for key, value in call.invocation_metadata() or () if key == "authorization"]
    return f"{names} {shown}"


def _link(authority: Authority, tmp_path: Path) -> Link:
    cert, key = authority.issue("router", "URI:spiffe://atelier/router")
    api_key = tmp_path / "api.key"
    api_key.write_text("secret\n")
    return Link.of(
        BackendSettings(
            tls_cert_file=cert, tls_key_file=key, backend_ca_file=authority.file, backend_api_key_file=api_key
        )
    )


async def test_certificate_and_key_prove_who_calls(authority: Authority, tmp_path: Path, port: str) -> None:
    async with _link(authority, tmp_path).open(f"127.0.0.1:{port}", server_name="backend.test") as channel:
        assert await ToyClient(channel).ask("Unary", "?") == ["['spiffe://atelier/router'] ['Bearer secret']"]


async def test_a_new_key_is_used_at_once(authority: Authority, tmp_path: Path, port: str) -> None:
    async with _link(authority, tmp_path).open(f"127.0.0.1:{port}", server_name="backend.test") as channel:
        await ToyClient(channel).ask("Unary", "?")
        (tmp_path / "api.key").write_text("renewed")
        assert await ToyClient(channel).ask("Unary", "?") == ["['spiffe://atelier/router'] ['Bearer renewed']"]


async def test_a_server_by_another_name_is_not_believed(authority: Authority, tmp_path: Path, port: str) -> None:
    async with _link(authority, tmp_path).open(f"127.0.0.1:{port}", server_name="other.test") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ToyClient(channel).ask("Unary", "?")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_server_of_another_authority_is_not_believed(authority: Authority, tmp_path: Path, port: str) -> None:
    link = Link(Authority(tmp_path / "foreign").file)
    async with link.open(f"127.0.0.1:{port}", server_name="backend.test") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ToyClient(channel).ask("Unary", "?")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_without_an_authority_it_speaks_in_the_clear() -> None:
    app = App(local(ServerSettings), Toy(echo).register, registry=CollectorRegistry())
    async with app.serving() as address, Link().open(address) as channel:
        assert await ToyClient(channel).ask("Unary", "hello") == ["hello"]


def test_a_renewed_certificate_changes_the_stamp(authority: Authority, tmp_path: Path) -> None:
    link = _link(authority, tmp_path)
    before = link.stamp()
    assert link.cert_file is not None
    os.utime(link.cert_file, ns=(0, 1))
    assert link.stamp() != before
