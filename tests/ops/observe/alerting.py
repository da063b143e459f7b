"""A real Alertmanager with the shipped routes, and the web server that its receivers are."""

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from deploy.local.ports import unused
from deploy.local.program import Program

SHIPPED = Path(__file__).parents[3] / "deploy" / "alertmanager" / "alertmanager.yml"
_WAIT_S = 30.0

Labels = dict[str, str]


class Inbox:
    """What was posted to each path."""

    def __init__(self) -> None:
        self._posted: dict[str, asyncio.Queue[dict[str, Any]]] = {}

    def of(self, path: str) -> asyncio.Queue[dict[str, Any]]:
        """Return what comes to `path`, in order."""
        return self._posted.setdefault(path, asyncio.Queue())

    async def told(self, path: str, alert: str, status: str) -> dict[str, Any]:
        """Wait for a message at `path` that `alert` is `firing` or `resolved`; raises `TimeoutError` after 30 s."""
        async with asyncio.timeout(_WAIT_S):
            while True:
                message = await self.of(path).get()
                if message["status"] == status and message["commonLabels"]["alertname"] == alert:
                    return message

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read a request over HTTP and say that it is fine."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        (length,) = (line.split(":")[1] for line in head.splitlines() if line.lower().startswith("content-length:"))
        self.of(head.split()[1]).put_nowait(json.loads(await reader.readexactly(int(length))))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def alertmanager(folder: Path) -> AsyncIterator[tuple[str, Inbox]]:
    """Run one inside the block; yields its address and what its receivers get, a second after the alerts."""
    inbox, (port,) = Inbox(), unused(1)
    server = await asyncio.start_server(inbox.take, "127.0.0.1", 0)
    async with server:
        receivers = "{}:{}".format(*server.sockets[0].getsockname())
        config = _configured(folder, receivers)
        command = (
            "prometheus-alertmanager",
            f"--config.file={config}",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        )
        async with Program(command, folder / "alertmanager.log", f"http://127.0.0.1:{port}/-/ready"):
            yield f"127.0.0.1:{port}", inbox


async def raised(address: str, *alerts: Labels) -> None:
    """Tell the Alertmanager at `address` of alerts that fire."""
    await asyncio.to_thread(_asked, address, json.dumps([{"labels": each} for each in alerts]).encode())


async def inhibited(address: str) -> list[Labels]:
    """Return the alerts that others keep from being sent."""
    alerts = await asyncio.to_thread(_asked, address)
    return [each["labels"] for each in alerts if each["status"]["inhibitedBy"]]


def _asked(address: str, alerts: bytes | None = None) -> Any:
    request = urllib.request.Request(f"http://{address}/api/v2/alerts", alerts, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.loads(reply.read() or "null")


def _configured(folder: Path, receivers: str) -> Path:
    """Copy what is shipped, with other receivers and less patience."""
    config = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    config["route"] |= {"group_wait": "1s", "group_interval": "1s"}
    for each in config["receivers"]:
        for hook in each["webhook_configs"]:
            hook["url"] = hook["url"].replace("127.0.0.1:9094", receivers)
    path = folder / "alertmanager.yml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path
