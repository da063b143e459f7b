"""Public fakes and helpers for tests of anything built on servekit."""

import asyncio
import heapq
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import grpc
from google.protobuf.wrappers_pb2 import StringValue

from servekit.app import App
from servekit.settings import ServerSettings

S = TypeVar("S", bound=ServerSettings)


class ManualClock:
    """A `Clock` that moves only when told to.

    >>> clock = ManualClock()
    >>> clock.advance(2.5)
    >>> clock.monotonic()
    2.5
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def monotonic(self) -> float:
        """Return the time `advance` has moved it to, in seconds."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Wait until `advance` has moved the clock by `seconds`."""
        wake = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self._now + seconds, self._count, wake))
        await wake

    def advance(self, seconds: float) -> None:
        """Move on by `seconds` and wake every sleeper whose time has come, earliest first."""
        self._now += seconds
        while self._sleepers and self._sleepers[0][0] <= self._now:
            _, _, wake = heapq.heappop(self._sleepers)
            if not wake.done():
                wake.set_result(None)


def local(settings: type[S], **overrides: Any) -> S:
    """Return settings for a server inside a test: a free loopback port, no metrics port, a quick end."""
    return settings(**{"metrics_port": None, "grace_s": 1.0, **overrides})


@asynccontextmanager
async def serve(app: App) -> AsyncIterator[grpc.aio.Channel]:
    """Serve `app` inside the block, which gets a channel to it."""
    async with app.serving() as address, grpc.aio.insecure_channel(address) as channel:
        yield channel


def tasks() -> set[asyncio.Task[Any]]:
    """Return the loop's tasks but gRPC's own, which wait for the next call for as long as a server lives."""
    return {task for task in asyncio.all_tasks() if "._request_" not in getattr(task.get_coro(), "__qualname__", "")}


async def ended(since: set[asyncio.Task[Any]]) -> None:
    """Wait until every task that was not there `since` has ended; a test's own timeout ends one that never does."""
    while left := tasks() - since:
        await asyncio.wait(left)


async def echo(text: str) -> str:
    """Return `text`."""
    return text


_DECODE, _ENCODE = StringValue.FromString, StringValue.SerializeToString


class Toy:
    """A service that passes every message through `on_message`; one method of each kind, see `KINDS`.

    `Unary` answers one message with one, `Split` with one per word, `Join` all with one, `Each` each with one.
    `Written` is `Split` in the other style: a coroutine that writes to the context.
    """

    SERVICE = "servekit.toy.v1.ToyService"
    KINDS: Mapping[str, str] = {
        "Unary": "unary",
        "Split": "server_stream",
        "Written": "server_stream",
        "Join": "client_stream",
        "Each": "bidi_stream",
    }

    def __init__(self, on_message: Callable[[str], Awaitable[str]] = echo) -> None:
        self._on_message = on_message

    def register(self, server: grpc.aio.Server) -> Sequence[str]:
        """Add the service to `server`; fits `App`."""
        methods = {
            "Unary": grpc.unary_unary_rpc_method_handler(self._unary, _DECODE, _ENCODE),
            "Split": grpc.unary_stream_rpc_method_handler(self._split, _DECODE, _ENCODE),
            "Written": grpc.unary_stream_rpc_method_handler(self._written, _DECODE, _ENCODE),
            "Join": grpc.stream_unary_rpc_method_handler(self._join, _DECODE, _ENCODE),
            "Each": grpc.stream_stream_rpc_method_handler(self._each, _DECODE, _ENCODE),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(self.SERVICE, methods),))
        return [self.SERVICE]

    async def _unary(self, request: StringValue, context: Any) -> StringValue:
        return StringValue(value=await self._on_message(request.value))

    async def _split(self, request: StringValue, context: Any) -> AsyncIterator[StringValue]:
        for word in request.value.split():
            yield StringValue(value=await self._on_message(word))

    async def _written(self, request: StringValue, context: Any) -> None:
        for word in request.value.split():
            await context.write(StringValue(value=await self._on_message(word)))

    async def _join(self, requests: AsyncIterator[StringValue], context: Any) -> StringValue:
        return StringValue(value=" ".join([await self._on_message(each.value) async for each in requests]))

    async def _each(self, requests: AsyncIterator[StringValue], context: Any) -> AsyncIterator[StringValue]:
        async for each in requests:
            yield StringValue(value=await self._on_message(each.value))


class ToyClient:
    """Calls any method of `Toy` in the same way, whatever its kind. `encode` may be one that sends rubbish."""

    def __init__(self, channel: grpc.aio.Channel, encode: Callable[[StringValue], bytes] = _ENCODE) -> None:
        self.channel = channel
        self._multicallables = {
            "unary": channel.unary_unary,
            "server_stream": channel.unary_stream,
            "client_stream": channel.stream_unary,
            "bidi_stream": channel.stream_stream,
        }
        self._encode = encode

    def call(self, method: str, *texts: str, **options: Any) -> Any:
        """Begin a call with these messages, just one if the request is not a stream; returns grpc's call object.

        A `bidi_stream` call without texts is left open for the caller to write to.
        """
        kind = Toy.KINDS[method]
        begin: Any = self._multicallables[kind](f"/{Toy.SERVICE}/{method}", self._encode, _DECODE)
        messages = [StringValue(value=text) for text in texts]
        if kind in {"unary", "server_stream"}:
            return begin(messages[0], **options)
        return begin(iter(messages) if messages else None, **options)

    async def ask(self, method: str, *texts: str, **options: Any) -> list[str]:
        """Make a whole call and return the texts of all answers; raises `grpc.aio.AioRpcError`."""
        return await answers(self.call(method, *texts, **options))


async def answers(call: Any) -> list[str]:
    """Return the texts of all answers to a call of `ToyClient`; raises `grpc.aio.AioRpcError`."""
    if hasattr(call, "__aiter__"):
        return [message.value async for message in call]
    return [(await call).value]
