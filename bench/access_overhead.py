"""What it costs to know who calls: unary calls to an echo that asks nobody, beside ones that ask for credentials.

Servers and clients share one process and one event loop on uvloop, so each figure is the time of both ends. Rounds of
all kinds alternate, so that whatever else the machine does hits them alike.
"""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import uvloop
from prometheus_client import CollectorRegistry

from bench._figures import Figure, percentile
from servekit.app import App
from servekit.keys import new_key
from servekit.settings import ServerSettings
from servekit.testing import Toy, ToyClient, local
from tests.authority import Authority
from tests.tokens import AUDIENCE, ISSUER, Issuer

_ROUNDS = 40
_CALLS = 50
_IDENTITY = "spiffe://bench/client"
_AIMS = {"a key": "<= 100", "a certificate": "<= 100", "a token (ES256)": "<= 300", "a token (RS256)": "<= 300"}


class Kind:
    """One way to call, and the seconds its calls took."""

    def __init__(self, toy: ToyClient, token: str = "") -> None:
        self._toy = toy
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self.seconds: list[float] = []

    async def round(self) -> None:
        """Make some calls, one after the other."""
        for _ in range(_CALLS):
            began = time.perf_counter()
            await self._toy.ask("Unary", "hello", metadata=self._metadata)
            self.seconds.append(time.perf_counter() - began)


def run() -> list[Figure]:
    """Start the servers, measure, stop them."""
    with TemporaryDirectory() as folder:
        return uvloop.run(_measure(Path(folder)))


async def _measure(folder: Path) -> list[Figure]:
    authority, issuer, (key, stored) = Authority(folder), Issuer(), new_key()
    (folder / "jwks.json").write_text(issuer.jwks())
    callers = folder / "callers.toml"
    callers.write_text(
        f'[[caller]]\nname = "bench"\nkeys = ["{stored.text}"]\nidentities = ["{_IDENTITY}"]\n'
        f"requests_per_second = 1e9\nconcurrent_calls = 1000\n"
        f'[tokens]\nissuer = "{ISSUER}"\naudience = "{AUDIENCE}"\nkeys = "{folder / "jwks.json"}"\n'
    )
    server, client = authority.issue("server", "IP:127.0.0.1"), authority.issue("client", f"URI:{_IDENTITY}")
    tls = {"tls_cert_file": server.cert, "tls_key_file": server.key, "tls_client_ca_file": authority.file}
    files = (file.read_bytes() for file in (authority.file, client.key, client.cert))
    secure = grpc.ssl_channel_credentials(*files)
    async with AsyncExitStack() as stack:
        nobody = await stack.enter_async_context(_serving())
        known = await stack.enter_async_context(_serving(callers_file=callers))
        mutual = await stack.enter_async_context(_serving(secure, **tls))
        checked = await stack.enter_async_context(_serving(secure, **tls, callers_file=callers))
        kinds = {
            "nobody is asked": Kind(nobody),
            "a key": Kind(known, key),
            "a token (ES256)": Kind(known, issuer.token("ES256")),
            "a token (RS256)": Kind(known, issuer.token("RS256")),
            "mutual TLS": Kind(mutual),
            "a certificate": Kind(checked),
        }
        for _ in range(_ROUNDS):
            for kind in kinds.values():
                await kind.round()
    return _figures(kinds)


@asynccontextmanager
async def _serving(credentials: grpc.ChannelCredentials | None = None, **settings: Any) -> AsyncIterator[ToyClient]:
    app = App(local(ServerSettings, log_level="ERROR", **settings), Toy().register, registry=CollectorRegistry())
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(app.serving())
        channel = grpc.aio.secure_channel(address, credentials) if credentials else grpc.aio.insecure_channel(address)
        yield ToyClient(await stack.enter_async_context(channel))


def _figures(kinds: dict[str, Kind]) -> list[Figure]:
    """Return the medians, and what each kind adds to the cheapest; the first round warmed up."""
    seconds = {name: kind.seconds[_CALLS:] for name, kind in kinds.items()}
    p50 = {name: 1e6 * percentile(each, 0.5) for name, each in seconds.items()}
    samples = len(seconds["a key"])
    base = p50["nobody is asked"]
    added = [
        Figure(f"p50 added by {name}", p50[name] - base, "us", samples, _AIMS.get(name, ""))
        for name in p50
        if name != "nobody is asked"
    ]
    return [*added, Figure("p50 of a call where nobody is asked", base, "us", samples)]
