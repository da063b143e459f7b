"""TLS and who the caller is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry

from servekit import context
from servekit.app import App
from servekit.settings import ServerSettings
from servekit.testing import Toy, ToyClient, local, serve
from tests.authority import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


async def _caller(text: str) -> str:
    return context.current().caller


def _app(authority: Authority, **settings: Any) -> App:
    cert, key = authority.issue("server", "DNS:localhost", "IP:127.0.0.1")
    tls = {"tls_cert_file": cert, "tls_key_file": key, **settings}
    return App(local(ServerSettings, **tls), Toy(_caller).register, registry=CollectorRegistry())


@asynccontextmanager
async def _client(
    address: str, authority: Authority, pair: tuple[Path, Path] | None = None
) -> AsyncIterator[ToyClient]:
    cert, key = (file.read_bytes() for file in pair) if pair else (None, None)
    credentials = grpc.ssl_channel_credentials(authority.file.read_bytes(), key, cert)
    async with grpc.aio.secure_channel(address, credentials) as channel:
        yield ToyClient(channel)


async def test_a_call_over_tls(authority: Authority) -> None:
    async with _app(authority).serving() as address, _client(address, authority) as toy:
        assert await toy.ask("Unary", "hello") == [""]


async def test_plaintext_is_refused(authority: Authority) -> None:
    async with serve(_app(authority)) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ToyClient(channel).ask("Unary", "hello")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_client_certificate_names_the_caller(authority: Authority) -> None:
    pair = authority.issue("router", "URI:spiffe://atelier/router")
    app = _app(authority, tls_client_ca_file=authority.file)
    async with app.serving() as address, _client(address, authority, pair) as toy:
        assert await toy.ask("Unary", "who am I?") == ["spiffe://atelier/router"]


async def test_a_caller_without_a_certificate_is_refused(authority: Authority) -> None:
    app = _app(authority, tls_client_ca_file=authority.file)
    async with app.serving() as address, _client(address, authority) as toy:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await toy.ask("Unary", "hello")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_renewed_certificate_is_used_without_a_restart(authority: Authority, tmp_path: Path) -> None:
    renewed = Authority(tmp_path)
    async with _app(authority).serving() as address:
        for new, old in zip(
            renewed.issue("server", "IP:127.0.0.1"), authority.issue("server", "IP:127.0.0.1"), strict=True
        ):
            old.write_bytes(new.read_bytes())
        async with _client(address, renewed) as toy:
            assert await toy.ask("Unary", "hello") == [""]


async def test_certificates_that_cannot_be_read_leave_the_old_ones_in_use(authority: Authority) -> None:
    async with _app(authority).serving() as address:
        for file in authority.issue("server", "IP:127.0.0.1"):
            file.unlink()
        async with _client(address, authority) as toy:
            assert await toy.ask("Unary", "hello") == [""]


async def test_a_missing_certificate_is_reported_at_the_start(authority: Authority, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        async with _app(authority, tls_cert_file=tmp_path / "none.pem").serving():
            pytest.fail("served without a certificate")
