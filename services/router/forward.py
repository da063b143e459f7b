"""A picture request on its way to a replica, and to another one if that is lost."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeAlias

from atelier.imagegen.v1 import image_service_pb2, imagegen_pb2
from services.router import convert
from services.router.convert import GenerateRequest, GenerateResponse
from services.router.failover import with_failover
from services.router.hop import Hop
from services.router.ports import ImageBackends
from services.router.route import ImageRouter

Backends: TypeAlias = ImageBackends[GenerateRequest, bytes]
"""Events stay encoded on their way: a message costs the router one read and one write."""

_OUTPUT = frozenset({"image", "chunk", "blocked", "plan", "summary"})
"""Events after which a generation cannot begin anew on another replica."""


class Forward:
    """One request and the attempts at it that ended with the loss of a server."""

    def __init__(self, router: ImageRouter, backends: Backends, request: GenerateRequest, hop: Hop) -> None:
        self._router = router
        self._backends = backends
        self._request = request
        self._hop = hop
        self.lost: list[imagegen_pb2.Attempt] = []

    def events(self, replica: str) -> AsyncGenerator[bytes, None]:
        """Stream every event, encoded, beginning at `replica`; raises `ReplicaLost` when no other can take over."""
        return with_failover(
            replica,
            begin=self._begin,
            successor=lambda lost: self._router.successor(self._request.model, lost),
            is_output=lambda event: convert.kind(event) in _OUTPUT,
            announce=self._announce,
        )

    def _begin(self, replica: str) -> AsyncGenerator[bytes, None]:
        events = self._backends.generate(replica, self._request, self._hop)
        return self._renumbered(events) if self.lost else events

    async def _renumbered(self, events: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        async with aclosing(events):
            async for event in events:
                yield convert.renumbered(event, len(self.lost))

    def _announce(self, lost: str, following: str, number: int) -> bytes:
        self.lost.append(convert.lost_attempt(self._request.model, number, self._request.seed))
        message = f"{lost} was lost; {following} begins anew"
        retry = image_service_pb2.Retry(attempt=self.lost[-1], message=message)
        return GenerateResponse(retry=retry).SerializeToString()
