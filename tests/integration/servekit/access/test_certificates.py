"""Callers with certificates, at a real server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from servekit.keys import new_key
from servekit.testing import ToyClient
from tests.authority import Authority, Pair
from tests.integration.servekit.access.conftest import Door

_ROUTER = "spiffe://atelier/router"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@asynccontextmanager
async def _toy(door: Door, authority: Authority, pair: Pair | None, **settings: Any) -> AsyncIterator[ToyClient]:
    cert, key = authority.issue("server", "IP:127.0.0.1")
    tls = {"tls_cert_file": cert, "tls_key_file": key, "tls_client_ca_file": authority.file}
    address = await door.open(**{**tls, **settings})
    own_cert, own_key = (file.read_bytes() for file in pair) if pair else (None, None)
    credentials = grpc.ssl_channel_credentials(authority.file.read_bytes(), own_key, own_cert)
    async with grpc.aio.secure_channel(address, credentials) as channel:
        yield ToyClient(channel)


async def _refused(toy: ToyClient) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await toy.ask("Unary", "?")
    return caught.value


async def test_a_certificate_names_its_caller(door: Door, authority: Authority) -> None:
    door.callers.write_text(f'[[caller]]\nname = "router"\nidentities = ["{_ROUTER}"]')
    async with _toy(door, authority, authority.issue("router", f"URI:{_ROUTER}")) as toy:
        assert await toy.ask("Unary", "?") == ["router"]


async def test_the_common_name_will_do(door: Door, authority: Authority) -> None:
    door.callers.write_text('[[caller]]\nname = "router"\nidentities = ["router.example"]')
    async with _toy(door, authority, authority.issue("router.example")) as toy:
        assert await toy.ask("Unary", "?") == ["router"]


async def test_a_certificate_of_nobody_in_the_file_is_refused(door: Door, authority: Authority) -> None:
    door.callers.write_text("")
    async with _toy(door, authority, authority.issue("stranger", "URI:spiffe://atelier/stranger")) as toy:
        error = await _refused(toy)
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert "spiffe://atelier/stranger" in str(error.details())


@pytest.mark.parametrize("by", ["serial", "name"])
async def test_a_revoked_certificate_is_refused_on_a_connection_that_stays_open(
    door: Door, authority: Authority, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = authority.issue("router", f"URI:{_ROUTER}", serial=0x0AF3B1)
    caller = f'[[caller]]\nname = "router"\nidentities = ["{_ROUTER}"]\n'
    revoked = f'certificates = ["{pair.serial}"]' if by == "serial" else f'identities = ["{_ROUTER}"]'
    door.callers.write_text(caller)
    async with _toy(door, authority, pair) as toy:
        assert await toy.ask("Unary", "?") == ["router"]
        door.callers.write_text(f"{caller}[revoked]\n{revoked}")
        monkeypatch.setattr("servekit.access.watched._LOOK_EVERY_S", 0.0)
        error = await _refused(toy)
    assert (error.code(), error.details()) == (grpc.StatusCode.UNAUTHENTICATED, "the certificate is revoked")


async def test_a_key_speaks_before_the_certificate(door: Door, authority: Authority) -> None:
    key = door.admit("ann")
    async with _toy(door, authority, authority.issue("anybody")) as toy:
        assert await toy.ask("Unary", "?", metadata=(("authorization", f"Bearer {key}"),)) == ["ann"]


async def test_a_wrong_key_is_not_made_good_by_a_certificate(door: Door, authority: Authority) -> None:
    door.callers.write_text(f'[[caller]]\nname = "router"\nidentities = ["{_ROUTER}"]')
    async with _toy(door, authority, authority.issue("router", f"URI:{_ROUTER}")) as toy:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await toy.ask("Unary", "?", metadata=(("authorization", f"Bearer {new_key()[0]}"),))
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("flaw", ["expired", "not yet valid", "foreign", "missing"])
async def test_what_tls_does_not_accept_never_gets_to_a_method(
    door: Door, authority: Authority, flaw: str, tmp_path: Path
) -> None:
    day = timedelta(days=1)
    pairs = {
        "expired": authority.issue("old", f"URI:{_ROUTER}", begin=datetime.now(UTC) - 2 * day, life=day),
        "not yet valid": authority.issue("new", f"URI:{_ROUTER}", begin=datetime.now(UTC) + day, life=day),
        "foreign": Authority(tmp_path / "foreign").issue("router", f"URI:{_ROUTER}"),
        "missing": None,
    }
    door.callers.write_text(f'[[caller]]\nname = "router"\nidentities = ["{_ROUTER}"]')
    async with _toy(door, authority, pairs[flaw]) as toy:
        assert (await _refused(toy)).code() is grpc.StatusCode.UNAVAILABLE


async def test_without_a_callers_file_whoever_has_a_certificate_is_believed_whom_he_calls_for(
    door: Door, authority: Authority
) -> None:
    async with _toy(door, authority, authority.issue("router", f"URI:{_ROUTER}"), callers_file=None) as toy:
        assert await toy.ask("Unary", "?") == [_ROUTER]
        assert await toy.ask("Unary", "?", metadata=(("x-atelier-caller", "ann"),)) == ["ann"]


async def test_at_the_edge_nobody_names_himself(door: Door, authority: Authority) -> None:
    async with _toy(door, authority, authority.issue("bob"), callers_file=None, edge=True) as toy:
        assert await toy.ask("Unary", "?") == ["bob"]
        with pytest.raises(grpc.aio.AioRpcError, match="bob may not speak for ann") as caught:
            await toy.ask("Unary", "?", metadata=(("x-atelier-caller", "ann"),))
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_with_tls_alone_keys_are_needed(door: Door, authority: Authority) -> None:
    key = door.admit("ann")
    async with _toy(door, authority, None, tls_client_ca_file=None) as toy:
        assert await toy.ask("Unary", "?", metadata=(("authorization", f"Bearer {key}"),)) == ["ann"]
        assert (await _refused(toy)).code() is grpc.StatusCode.UNAUTHENTICATED
