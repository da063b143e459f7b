"""Whatever goes wrong, both clients raise `AtelierError`, and it says what to change."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry

from atelier.imagegen.v1 import image_service_pb2 as image_pb2
from atelier_client import AsyncClient, AtelierError, Client, Credentials
from atelier_client._hints import hint
from servekit.app import App
from servekit.settings import ServerSettings
from servekit.testing import Toy, local
from tests.authority import Authority
from tests.integration.atelier_client import fake

NOBODY = "127.0.0.1:1"

WRONG: dict[str, tuple[Callable[[Any], Any], str]] = {
    "surrogate in a text": (lambda client: client.say("\ud800"), "text"),
    "number for a text": (lambda client: client.say(5), "text"),
    "number for an audio option": (lambda client: client.say("x", rate="fast"), "rate"),
    "audio as a whole": (lambda client: client.say("x", audio={}), "audio"),
    "number for a language": (lambda client: client.voices(language=5), "language"),
    "surrogate in a model": (lambda client: client.voices(model="\ud800"), "model"),
    "surrogate in a prompt": (lambda client: client.image("\ud800"), "prompt"),
    "number too large": (lambda client: client.image("x", steps=2**40), "steps"),
    "number far too large": (lambda client: client.image("x", guidance=10**400), "guidance"),
    "part of a message": (lambda client: client.image("x", adapters=[{"weight": "much"}]), "adapters"),
    "unknown option": (lambda client: client.route("x", colour="red"), "colour"),
    "number for a voice": (lambda client: client.create_voice(5, b"clip"), "id"),
    "second id": (lambda client: client.create_voice("x", b"clip", id="y"), "id"),
    "number for a clip": (lambda client: client.create_voice("x", 5), "clip"),
    "null in a path": (lambda client: client.create_voice("x", "a\0b"), "clip"),
    "surrogate in a voice": (lambda client: client.delete_voice("\ud800"), "voice"),
    "number for a loaded model": (lambda client: client.load_model(5), "model"),
}


async def _tokens(*pieces: Any) -> AsyncIterator[Any]:
    for piece in pieces:
        yield piece


async def _all(events: AsyncIterator[Any]) -> list[Any]:
    return [event async for event in events]


def _violations(error: AtelierError) -> list[str]:
    return [each.field for each in error.violations]


@pytest.mark.parametrize("wrong", WRONG)
def test_what_cannot_be_sent_is_named(wrong: str) -> None:
    call, field = WRONG[wrong]
    with Client(NOBODY) as client, pytest.raises(AtelierError) as caught:
        call(client)
    assert (caught.value.code, _violations(caught.value)) == ("INVALID_ARGUMENT", [field])


@pytest.mark.parametrize("wrong", WRONG)
async def test_what_cannot_be_sent_is_named_by_the_asynchronous_client_too(wrong: str) -> None:
    call, field = WRONG[wrong]
    async with AsyncClient(NOBODY) as client:
        with pytest.raises(AtelierError) as caught:
            await call(client)
    assert (caught.value.code, _violations(caught.value)) == ("INVALID_ARGUMENT", [field])


@pytest.fixture
async def toy() -> AsyncIterator[str]:
    """Return the address of a server that knows none of the studio's calls."""
    async with _toy().serving() as address:
        yield address


def _toy(**settings: Any) -> App:
    return App(local(ServerSettings, **settings), Toy().register, registry=CollectorRegistry())


class Silent:
    """Takes calls and answers none."""

    SERVICE = "atelier.voice.v1.VoiceService"

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    def register(self, server: grpc.aio.Server) -> list[str]:
        methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "ListVoices": grpc.unary_unary_rpc_method_handler(self._wait),
            "SynthesizeStream": grpc.stream_unary_rpc_method_handler(self._wait),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(self.SERVICE, methods),))
        return [self.SERVICE]

    async def _wait(self, request: Any, context: Any) -> bytes:
        self.asked.set()
        await asyncio.Event().wait()
        return b""


@pytest.fixture
async def silent() -> AsyncIterator[tuple[str, Silent]]:
    """Return a server that answers nothing, after its address."""
    service = Silent()
    app = App(local(ServerSettings, grace_s=0.0), service.register, registry=CollectorRegistry())
    async with app.serving() as address:
        yield address, service


@pytest.mark.parametrize("pieces", [["\ud800"], [5], [b"x"], [None]])
async def test_pieces_that_are_no_text_are_named(silent: tuple[str, Silent], pieces: list[Any]) -> None:
    async with AsyncClient(silent[0]) as client:
        with pytest.raises(AtelierError) as caught:
            await _all(client.speak(_tokens(*pieces)))
    assert _violations(caught.value) == ["text"]


@pytest.mark.parametrize("pieces", [["\ud800"], [5], 5])
async def test_pieces_that_are_no_text_are_named_in_threads_too(silent: tuple[str, Silent], pieces: Any) -> None:
    def speak() -> None:
        with Client(silent[0]) as client:
            list(client.speak(pieces))

    with pytest.raises(AtelierError) as caught:
        await asyncio.to_thread(speak)
    assert _violations(caught.value) == ["text"]


async def test_a_list_is_no_stream_of_pieces() -> None:
    async with AsyncClient(NOBODY) as client:
        with pytest.raises(AtelierError, match="list is no AsyncIterable"):
            await _all(client.speak(["x"]))  # type: ignore[arg-type]


CALLS: dict[str, Callable[[Any], Any]] = {
    "image": lambda client: client.image("x"),
    "say": lambda client: client.say("x"),
    "voices": lambda client: client.voices(),
    "create_voice": lambda client: client.create_voice("x", bytearray(b"clip")),
    "delete_voice": lambda client: client.delete_voice("x"),
    "route": lambda client: client.route("x"),
    "backends": lambda client: client.backends(),
    "load_model": lambda client: client.load_model("x"),
    "unload_model": lambda client: client.unload_model("x"),
    "pin_model": lambda client: client.pin_model("x"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_closed_client_says_so(name: str) -> None:
    client = Client(NOBODY)
    client.close()
    with pytest.raises(AtelierError, match="the client is closed"):
        CALLS[name](client)


@pytest.mark.parametrize("name", CALLS)
async def test_a_closed_asynchronous_client_says_so(name: str) -> None:
    client = AsyncClient(NOBODY)
    await client.close()
    with pytest.raises(AtelierError, match="the client is closed"):
        await CALLS[name](client)


async def test_closed_streams_say_so() -> None:
    client, threaded = AsyncClient(NOBODY), Client(NOBODY)
    await client.close()
    threaded.close()
    request = image_pb2.GenerateRequest(prompt="x")
    for events in (client.generate(request), client.speak(_tokens("x"))):
        with pytest.raises(AtelierError, match="the client is closed"):
            await _all(events)
    for more in (threaded.generate(request), threaded.speak(["x"])):
        with pytest.raises(AtelierError, match="the client is closed"):
            next(more)


async def test_what_is_no_request_is_refused(toy: str) -> None:
    async with AsyncClient(toy) as client:
        with pytest.raises(AtelierError):
            await _all(client.generate(None))  # type: ignore[arg-type]

    def generate() -> None:
        with Client(toy) as threaded:
            next(threaded.generate(None))  # type: ignore[arg-type]

    with pytest.raises(AtelierError):
        await asyncio.to_thread(generate)


async def test_who_waits_when_the_client_is_closed_is_told(silent: tuple[str, Silent]) -> None:
    address, service = silent
    client = AsyncClient(address)
    task = asyncio.create_task(client.voices())
    await service.asked.wait()
    await client.close()
    with pytest.raises(AtelierError, match="the client is closed") as caught:
        await task
    assert caught.value.code == "CANCELLED"


async def test_a_cancelled_task_stays_cancelled(silent: tuple[str, Silent]) -> None:
    address, service = silent
    async with AsyncClient(address) as client:
        task = asyncio.create_task(client.voices())
        await service.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("timeout", [1e10, 1e300, float("inf"), None])
async def test_a_very_long_timeout_is_not_over_at_once(toy: str, timeout: float | None) -> None:
    async with AsyncClient(toy, timeout=timeout) as client:
        with pytest.raises(AtelierError, match="UNIMPLEMENTED"):
            await client.voices()


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_what_is_no_timeout_is_refused(client: Callable[..., Any], timeout: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        client(NOBODY, timeout=timeout)


async def _said(target: str, credentials: Credentials) -> str:
    async with AsyncClient(target, credentials=credentials, timeout=30) as client:
        with pytest.raises(AtelierError) as caught:
            await client.delete_voice("x")
    assert caught.value.code == "UNAVAILABLE"
    return caught.value.message


async def test_what_keeps_a_call_from_a_server_is_told(toy: str) -> None:
    assert (await _said(NOBODY, Credentials())).startswith(f"no server answers at {NOBODY}; start one with `make run`")
    unknown = await _said("studio.invalid:1", Credentials())
    assert unknown.startswith("the host name of studio.invalid:1 is not known here")
    assert "speaks no TLS" in await _said(toy, Credentials(tls=True))


async def test_what_tls_asks_for_is_told(tmp_path: Path) -> None:
    authority, foreign = Authority(tmp_path / "authority"), Authority(tmp_path / "foreign")
    cert, key = authority.issue("server", "IP:127.0.0.1")
    believing = Credentials(ca_file=authority.file)
    stranger = foreign.issue("ann")
    async with _toy(tls_cert_file=cert, tls_key_file=key).serving() as address:
        assert "give its authority with --tls-ca" in await _said(address, Credentials())
        for wrong in (Credentials(ca_file=foreign.file), Credentials(tls=True)):
            assert "not signed by an authority of --tls-ca" in await _said(address, wrong)
        assert "no PEM" in await _said(address, Credentials(ca_file=key))
    async with _toy(tls_cert_file=cert, tls_key_file=key, tls_client_ca_file=authority.file).serving() as address:
        assert "give its authority with --tls-ca" in await _said(address, Credentials())
        assert "give one with --cert and --key" in await _said(address, believing)
        shown = replace(believing, cert_file=stranger.cert, key_file=stranger.key)
        assert "refuses the client certificate" in await _said(address, shown)


async def test_a_certificate_for_another_name_is_told(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("server", "DNS:studio.example")
    async with _toy(tls_cert_file=cert, tls_key_file=key).serving() as address:
        assert "is for another name" in await _said(address, Credentials(ca_file=authority.file))


def test_a_connection_that_breaks_is_not_a_server_that_is_not_there() -> None:
    broken, busy = "recvmsg:Connection reset by peer", "the model is being loaded"
    assert hint("UNAVAILABLE", broken, "studio:1", Credentials()) == "the connection to studio:1 broke"
    assert hint("UNAVAILABLE", busy, "studio:1", Credentials()) == ""


async def test_what_is_too_large_to_send_is_told() -> None:
    large = bytes(3 * 2**20)
    async with fake.serving(fake.Pictures()) as address, AsyncClient(address) as client:
        with pytest.raises(AtelierError, match="larger than what"):
            await client.image("a lake", source={"data": large, "mask": large})
