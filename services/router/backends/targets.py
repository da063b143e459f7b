"""From the targets in the settings to addresses."""

import asyncio
import socket
from collections.abc import Sequence

_DNS = "dns:///"


def parse(targets: str) -> tuple[str, ...]:
    """Split the comma-separated `targets`; raises `ValueError` for one that has no port."""
    parsed = tuple(part.strip() for part in targets.split(",") if part.strip())
    for target in parsed:
        host, _, port = target.removeprefix(_DNS).rpartition(":")
        if not host or not port.isdecimal():
            raise ValueError(f"target {target!r} must be host:port or {_DNS}host:port")
    return parsed


def server_name(target: str) -> str:
    """Return the name that the servers behind `target` go by: empty unless it was resolved to addresses."""
    return target.removeprefix(_DNS).rpartition(":")[0].strip("[]") if target.startswith(_DNS) else ""


async def resolve(target: str) -> Sequence[str]:
    """Return the addresses behind `target`, sorted; raises `OSError` if its name has none."""
    if not target.startswith(_DNS):
        return [target]
    host, _, port = target.removeprefix(_DNS).rpartition(":")
    found = await asyncio.get_running_loop().getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    return sorted({_join(entry[4][0], port) for entry in found})


def _join(address: str | int, port: str) -> str:
    return f"[{address}]:{port}" if ":" in str(address) else f"{address}:{port}"
