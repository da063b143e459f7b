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

Backends: TypeAlias = ImageBackends[GenerateRequest, GenerateResponse]

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

    def events(self, replica: str) -> AsyncGenerator[GenerateResponse, None]:
        """Stream every event, beginning at `replica`; raises `ReplicaLost` when no other can take over."""
        return with_failover(
            replica,
            begin=self._begin,
            successor=lambda lost: self._router.successor(self._request.model, lost),
            is_output=lambda event: event.WhichOneof("event") in _OUTPUT,
            announce=self._announce,
        )

    async def _begin(self, replica: str) -> AsyncGenerator[GenerateResponse, None]:
        async with aclosing(self._backends.generate(replica, self._request, self._hop)) as events:
            async for event in events:
                if self.lost:
                    convert.renumber(event, len(self.lost))
                yield event

    def _announce(self, lost: str, following: str, number: int) -> GenerateResponse:
        self.lost.append(convert.lost_attempt(self._request.model, number, self._request.seed))
        message = f"{lost} was lost; {following} begins anew"
        return GenerateResponse(retry=image_service_pb2.Retry(attempt=self.lost[-1], message=message))
