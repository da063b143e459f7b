"""A real Envoy in front of a router, and what tests ask of it."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deploy.envoy.render import Address, render
from deploy.local.ports import unused
from deploy.local.program import Program
from tests.ops.tools import tool


@dataclass(frozen=True)
class Answer:
    """What came back over HTTP."""

    code: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Edge:
    """Where it listens."""

    address: str

    async def call(
        self, path: str, body: Any = None, *, raw: bytes | None = None, content_type: str = "application/json"
    ) -> Answer:
        """GET `path`, or POST `body` as JSON or `raw` as it is."""
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.address}{path}", data, {"Content-Type": content_type})
        return await asyncio.to_thread(_open, request)


def _open(request: urllib.request.Request) -> Answer:
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return Answer(reply.status, dict(reply.headers), reply.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers), error.read())


@asynccontextmanager
async def running(
    folder: Path, router: str, *, burst: int | None = None, downstream: Path | None = None, upstream: Path | None = None
) -> AsyncIterator[Edge]:
    """Run Envoy inside the block; `burst` calls of one address are let through, then one an hour."""
    listen, admin = (Address("127.0.0.1", port) for port in unused(2))
    path = render(folder, listen, Address.parse(router), admin, downstream=downstream, upstream=upstream)
    if burst is not None:
        path.write_text(_with_burst(path.read_text(), burst))
    command = (tool("envoy"), "--config-path", path, "--concurrency", "1", "--disable-hot-restart")
    async with Program(command, folder / "envoy.log", f"http://{admin.host}:{admin.port}/ready"):
        yield Edge(f"{listen.host}:{listen.port}")


def _with_burst(text: str, burst: int) -> str:
    config = yaml.safe_load(text)
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    (limit,) = (each["typed_config"] for each in manager["http_filters"] if each["name"].endswith("local_ratelimit"))
    (descriptor,) = limit["descriptors"]
    descriptor["token_bucket"] = {"max_tokens": burst, "tokens_per_fill": 1, "fill_interval": "3600s"}
    return yaml.safe_dump(config)
