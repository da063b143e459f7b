"""The servers of one kind: which there are, how they are, who is asked next."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import count

from servekit.clock import Clock
from servekit.errors import BackendUnavailable
from services.router.backends.server import Backend, Server
from services.router.domain import Replica, ReplicaLost

logger = logging.getLogger(__name__)

Connect = Callable[[str, str, str], Server]
"""Makes a server from its name, its address and the target behind which that was found."""
Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""Returns the addresses behind a target; raises `OSError` if it has none."""
Stamp = Callable[[], object]
"""Returns something that changes when the certificates do that connections are made with."""


class Fleet:
    """Finds the servers behind its targets and asks them regularly how they are.

    A server is named by the lowest number that is free when it appears, and keeps the name as long as it is there.
    """

    def __init__(
        self,
        service: str,
        targets: Sequence[str],
        *,
        connect: Connect,
        resolve: Resolve,
        stamp: Stamp,
        clock: Clock,
        refresh_s: float,
        probe_timeout_s: float,
    ) -> None:
        self._service = service
        self._targets = targets
        self._connect = connect
        self._resolve = resolve
        self._stamp = stamp
        self._connected_with = stamp()
        self._clock = clock
        self._refresh_s = refresh_s
        self._probe_timeout_s = probe_timeout_s
        self._found: dict[str, str] = {}
        """The target behind which each address was found."""
        self._servers: dict[str, Server] = {}
        self._retired: list[Server] = []
        self._watch: asyncio.Task[None] | None = None
        self._used = False
        """Whether anybody placed a request since the last look; an idle fleet is asked for its health alone."""

    async def start(self) -> None:
        """Look once, whatever comes of it, and go on looking."""
        await self.refresh()
        self._watch = asyncio.create_task(self._keep_looking(), name=f"watch-{self._service}")

    async def stop(self) -> None:
        """Stop looking and close every channel."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])
        for server in (*self._servers.values(), *self._retired):
            await server.channel.close()

    async def refresh(self, *, describe: bool = True) -> None:
        """Resolve the targets and ask every server how it is and, with `describe`, what it has; all at once."""
        await self._discover()
        servers = self._servers.values()
        await asyncio.gather(*(server.probe(self._probe_timeout_s, describe=describe) for server in servers))

    def servers(self) -> list[Server]:
        """Return the servers, ordered by name."""
        return sorted(self._servers.values(), key=lambda server: (len(server.name), server.name))

    def named(self, name: str) -> Server:
        """Return the server called `name`; raises `ReplicaLost` if it has gone."""
        for server in self._servers.values():
            if server.name == name:
                return server
        raise ReplicaLost(f"{name} has gone", retry_after_s=self._refresh_s)

    def replicas(self) -> tuple[Replica, ...]:
        """Return what placement needs to know of every server."""
        self._used = True
        return tuple(server.replica() for server in self.servers())

    async def describe(self) -> list[Backend]:
        """Ask every server now and return what the operator sees."""
        await self.refresh()
        return [server.describe() for server in self.servers()]

    def pick(self) -> str:
        """Return the name of the least busy healthy server that answers; of any if none is known to be healthy.

        Raises `BackendUnavailable` if there is no server at all.
        """
        picked = self.successor(())
        if picked is None:
            raise BackendUnavailable(f"no {self._service} server is known", retry_after_s=self._refresh_s)
        return picked

    def successor(self, lost: Sequence[str]) -> str | None:
        """Return the name of the best server that is none of the `lost` ones; None if there is none."""
        left = [server for server in self._servers.values() if server.name not in lost]
        return min(left, key=_rank).name if left else None

    def lease(self, name: str) -> AbstractContextManager[Server]:
        """Count a call to the server called `name`, see `Server.lease`; raises `ReplicaLost` if it has gone."""
        return self.named(name).lease()

    async def _keep_looking(self) -> None:
        while True:
            await self._clock.sleep(self._refresh_s)
            used, self._used = self._used, False
            try:
                await self.refresh(describe=used)
            except Exception:  # a look that fails must not be the last one
                logger.exception("could not look at the %s servers", self._service)

    async def _discover(self) -> None:
        behind = await asyncio.gather(*(self._addresses(target) for target in self._targets))
        found = {address: target for target, known in zip(self._targets, behind, strict=True) for address in known}
        self._found = found
        for address in self._servers.keys() - found.keys():
            gone = self._servers.pop(address)
            gone.leave()
            self._retired.append(gone)
        try:
            await self._connect_to(found)
        except OSError as error:
            logger.warning("keeping the connections to the known %s servers: %s", self._service, error)
        await self._close_retired()

    async def _addresses(self, target: str) -> Sequence[str]:
        """Return the addresses behind `target`: those known if it cannot be resolved now."""
        try:
            return await self._resolve(target)
        except OSError as error:
            logger.warning("keeping the known %s servers of %s: %s", self._service, target, error)
            return [address for address, found_behind in self._found.items() if found_behind == target]

    async def _connect_to(self, found: Mapping[str, str]) -> None:
        """Connect to newcomers, and to all anew with renewed certificates; raises `OSError` if those cannot be read."""
        if (stamp := self._stamp()) != self._connected_with:
            await self._reconnect(found)
            self._connected_with = stamp
        for address, target in found.items():
            if address not in self._servers:
                self._servers[address] = self._connect(self._free_name(), address, target)

    async def _reconnect(self, found: Mapping[str, str]) -> None:
        """Open every channel anew; the old ones serve until the new ones are known to be healthy."""
        renewed = {
            address: self._connect(server.name, address, found[address]) for address, server in self._servers.items()
        }
        await asyncio.gather(*(server.probe(self._probe_timeout_s, describe=True) for server in renewed.values()))
        self._retired += self._servers.values()
        self._servers |= renewed

    async def _close_retired(self) -> None:
        """Close the channels of servers that are gone, once their last call or look is over."""
        over = [server for server in self._retired if server.idle]
        self._retired = [server for server in self._retired if not server.idle]
        for server in over:
            await server.channel.close()

    def _free_name(self) -> str:
        taken = {server.name for server in self._servers.values()}
        return next(name for number in count() if (name := f"{self._service}-{number}") not in taken)


def _rank(server: Server) -> tuple[bool, bool, int]:
    return not server.serving, not server.answering, server.in_flight
