"""Callers with tokens, at a real server and with a real issuer's keys over HTTP."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import pytest

from servekit.testing import ToyClient
from tests.integration.servekit.access.conftest import Door
from tests.tokens import AUDIENCE, Issuer


class Provider:
    """An OpenID provider on loopback: its pages by path, and how often each was read."""

    def __init__(self) -> None:
        self.pages: dict[str, str] = {}
        self.read: list[str] = []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.read.append(self.path)
                page = provider.pages.get(self.path)
                self.send_response(404 if page is None else 200)
                self.end_headers()
                self.wfile.write((page or "").encode())

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    provider = Provider()
    thread = threading.Thread(target=provider.server.serve_forever, args=(0.01,))
    thread.start()
    yield provider
    provider.server.shutdown()
    provider.server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


def _tokens(provider: Provider, keys: str = "", **rules: Any) -> str:
    lines = [f"{name} = {json.dumps(value)}" for name, value in rules.items()]
    return "\n".join(["[tokens]", f'issuer = "{provider.url}"', f'audience = "{AUDIENCE}"', f'keys = "{keys}"', *lines])


async def _ask(address: str, token: str) -> list[str]:
    async with grpc.aio.insecure_channel(address) as channel:
        return await ToyClient(channel).ask("Unary", "?", metadata=(("authorization", f"Bearer {token}"),))


async def _code(address: str, token: str) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _ask(address, token)
    return caught.value.code()


async def test_keys_are_found_through_the_issuers_own_description(
    door: Door, provider: Provider, issuer: Issuer
) -> None:
    described = {"issuer": provider.url, "jwks_uri": f"{provider.url}/keys"}
    provider.pages = {"/.well-known/openid-configuration": json.dumps(described), "/keys": issuer.jwks()}
    door.callers.write_text(_tokens(provider))
    address = await door.open()
    for _ in range(2):
        assert await _ask(address, issuer.token(iss=provider.url)) == ["token:ann"]
    assert provider.read == ["/.well-known/openid-configuration", "/keys"]


async def test_a_subject_in_the_file_is_that_caller(door: Door, provider: Provider, issuer: Issuer) -> None:
    provider.pages = {"/keys": issuer.jwks()}
    rows = '[[caller]]\nname = "ann-of-sales"\nsubjects = ["ann"]\n'
    door.callers.write_text(rows + _tokens(provider, f"{provider.url}/keys"))
    assert await _ask(await door.open(), issuer.token(iss=provider.url, roles=None)) == ["ann-of-sales"]


async def test_a_token_without_a_role_opens_nothing(door: Door, provider: Provider, issuer: Issuer) -> None:
    provider.pages = {"/keys": issuer.jwks()}
    door.callers.write_text(_tokens(provider, f"{provider.url}/keys"))
    token = issuer.token(iss=provider.url, roles=None)
    assert await _code(await door.open(), token) is grpc.StatusCode.PERMISSION_DENIED


async def test_a_token_that_has_expired_is_refused(door: Door, provider: Provider, issuer: Issuer) -> None:
    provider.pages = {"/keys": issuer.jwks()}
    door.callers.write_text(_tokens(provider, f"{provider.url}/keys"))
    token = issuer.token(iss=provider.url, exp=time.time() - 60)
    assert await _code(await door.open(), token) is grpc.StatusCode.UNAUTHENTICATED
    await door.close()
    assert door.refused("expired") == 1


async def test_an_issuer_that_cannot_be_reached_is_not_the_callers_fault(
    door: Door, provider: Provider, issuer: Issuer
) -> None:
    door.callers.write_text(_tokens(provider, f"{provider.url}/keys"))
    assert await _code(await door.open(), issuer.token(iss=provider.url)) is grpc.StatusCode.UNAVAILABLE


async def test_a_provider_that_describes_another_is_not_believed(
    door: Door, provider: Provider, issuer: Issuer
) -> None:
    described = {"issuer": "https://other.example", "jwks_uri": f"{provider.url}/keys"}
    provider.pages = {"/.well-known/openid-configuration": json.dumps(described), "/keys": issuer.jwks()}
    door.callers.write_text(_tokens(provider))
    assert await _code(await door.open(), issuer.token(iss=provider.url)) is grpc.StatusCode.UNAVAILABLE


async def test_callers_with_tokens_have_the_default_limits(door: Door, provider: Provider, issuer: Issuer) -> None:
    provider.pages = {"/keys": issuer.jwks()}
    defaults = "[defaults]\nrequests_per_second = 0.001\n"
    door.callers.write_text(defaults + _tokens(provider, f"{provider.url}/keys"))
    address = await door.open()
    await _ask(address, issuer.token(iss=provider.url))
    assert await _code(address, issuer.token(iss=provider.url)) is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await _ask(address, issuer.token(iss=provider.url, sub="bob")) == ["token:bob"]
