"""From the targets in the settings to addresses."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence

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


class Resolver:
    """Resolves targets by `lookup`, and keeps nobody waiting for a name service longer than `timeout_s` seconds.

    A target is looked up once at a time, however long that takes; an answer that is late is there for the next call.
    """

    def __init__(self, timeout_s: float, lookup: Callable[[str], Awaitable[Sequence[str]]] = resolve) -> None:
        self._timeout_s = timeout_s
        self._lookup = lookup
        self._under_way: dict[str, asyncio.Future[Sequence[str]]] = {}

    async def __call__(self, target: str) -> Sequence[str]:
        """Return the addresses behind `target`; raises `OSError` if its name has none, or none in time."""
        if target not in self._under_way:
            self._under_way[target] = asyncio.ensure_future(self._lookup(target))
        found = self._under_way[target]
        await asyncio.wait([found], timeout=self._timeout_s)
        if not found.done():
            raise TimeoutError(f"the name service did not answer within {self._timeout_s} s")
        if self._under_way.get(target) is found:
            del self._under_way[target]
        return found.result()


def _join(address: str | int, port: str) -> str:
    return f"[{address}]:{port}" if ":" in str(address) else f"{address}:{port}"
