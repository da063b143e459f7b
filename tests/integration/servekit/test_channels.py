"""Calls from one service to the next, over what the first knows of itself."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry

from servekit import context
from servekit.app import App
from servekit.channels import Link, RenewedChannel
from servekit.keys import new_key
from servekit.settings import BackendSettings, ServerSettings
from servekit.testing import Toy, ToyClient, echo, local
from tests.authority import Authority

_KEYS = [new_key(), new_key()]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
async def backend(authority: Authority, tmp_path: Path) -> AsyncIterator[str]:
    """A server named `backend.test` that tells its caller how it knows him."""
    callers = tmp_path / "callers.toml"
    lines = ", ".join(f'"{stored.text}"' for _, stored in _KEYS)
    callers.write_text(f'[[caller]]\nname = "router"\nkeys = [{lines}]\nidentities = ["spiffe://atelier/router"]')
    cert, key = authority.issue("backend", "DNS:backend.test")
    tls = {"tls_cert_file": cert, "tls_key_file": key, "tls_client_ca_file": authority.file}
    app = App(local(ServerSettings, **tls, callers_file=callers), Toy(_who).register, registry=CollectorRegistry())
    async with app.serving() as address:
        yield address


async def _who(text: str) -> str:
    return f"{context.current().caller} by {context.current().credential.split()[0]}"


def _link(authority: Authority, api_key_file: Path | None = None) -> Link:
    cert, key = authority.issue("router", "URI:spiffe://atelier/router")
    files: dict[str, Any] = {"tls_cert_file": cert, "tls_key_file": key, "backend_ca_file": authority.file}
    return Link.of(BackendSettings(**files, backend_api_key_file=api_key_file))


async def test_its_certificate_proves_who_calls(authority: Authority, backend: str) -> None:
    async with _link(authority).open(backend, server_name="backend.test") as channel:
        assert await ToyClient(channel).ask("Unary", "?") == ["router by certificate"]


async def test_its_key_proves_who_calls_and_is_read_for_every_call(
    authority: Authority, tmp_path: Path, backend: str
) -> None:
    file = tmp_path / "api.key"
    file.write_text("wrong")
    async with _link(authority, file).open(backend, server_name="backend.test") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ToyClient(channel).ask("Unary", "?")
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        for key, _ in _KEYS:
            file.write_text(f"{key}\n")
            assert await ToyClient(channel).ask("Unary", "?") == ["router by key"]


async def test_a_server_by_another_name_is_not_believed(authority: Authority, backend: str) -> None:
    async with _link(authority).open(backend, server_name="other.test") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ToyClient(channel).ask("Unary", "?")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_server_of_another_authority_is_not_believed(tmp_path: Path, backend: str) -> None:
    link = Link(Authority(tmp_path / "foreign").file)
    async with link.open(backend, server_name="backend.test") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ToyClient(channel).ask("Unary", "?")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_without_an_authority_it_speaks_in_the_clear() -> None:
    app = App(local(ServerSettings), Toy(echo).register, registry=CollectorRegistry())
    async with app.serving() as address, Link().open(address) as channel:
        assert await ToyClient(channel).ask("Unary", "hello") == ["hello"]


@pytest.mark.parametrize("scheme", ["", "dns:///"])
async def test_a_server_of_this_machine_is_reached_without_the_proxy(
    scheme: str, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_tcp_port}")
    app = App(local(ServerSettings), Toy(echo).register, registry=CollectorRegistry())
    async with app.serving() as address, Link().open(f"{scheme}{address}") as channel:
        assert await ToyClient(channel).ask("Unary", "hello") == ["hello"]


def test_a_renewed_certificate_changes_the_stamp(authority: Authority) -> None:
    link = _link(authority)
    before = link.stamp()
    assert link.cert_file is not None
    os.utime(link.cert_file, ns=(0, 1))
    assert link.stamp() != before


async def test_a_renewed_certificate_means_a_new_channel_and_the_old_call_finishes(authority: Authority) -> None:
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def wait(text: str) -> str:
        asked.set()
        await may_answer.wait()
        return text

    cert, key = authority.issue("server", "IP:127.0.0.1")
    settings = local(ServerSettings, tls_cert_file=cert, tls_key_file=key, tls_client_ca_file=authority.file)
    async with App(settings, Toy(wait).register, registry=CollectorRegistry()).serving() as address:
        link = _link(authority)
        renewed = RenewedChannel(link, lambda: link.open(address), grace_s=5.0)
        first = renewed.current()
        assert renewed.current() is first
        call = asyncio.create_task(ToyClient(first).ask("Unary", "hello"))
        await asked.wait()
        assert link.cert_file is not None
        os.utime(link.cert_file, ns=(0, 1))
        assert renewed.current() is not first
        may_answer.set()
        assert await call == ["hello"]
        assert await ToyClient(renewed.current()).ask("Unary", "again") == ["again"]
        await renewed.close()


async def test_a_certificate_that_cannot_be_read_leaves_the_channel_as_it_is(authority: Authority) -> None:
    link = _link(authority)
    assert link.cert_file is not None
    renewed = RenewedChannel(link, lambda: link.open("127.0.0.1:1"), grace_s=5.0)
    first = renewed.current()
    certificate = link.cert_file.read_bytes()
    link.cert_file.unlink()
    without = renewed.current()
    link.cert_file.write_bytes(certificate)

    assert without is first
    assert renewed.current() is not first
    await renewed.close()
