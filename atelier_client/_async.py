"""The asynchronous client."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, Self, TypeVar

import grpc
import grpc.aio

from atelier.common.v1 import types_pb2
from atelier.imagegen.v1 import image_service_pb2 as image_pb2
from atelier.imagegen.v1.image_service_pb2_grpc import ImageServiceStub
from atelier.models.v1 import model_service_pb2, models_pb2
from atelier.models.v1.model_service_pb2_grpc import ModelServiceStub
from atelier.router.v1 import router_service_pb2 as router_pb2
from atelier.router.v1.router_service_pb2_grpc import RouterServiceStub
from atelier.voice.v1 import voice_pb2, voice_service_pb2
from atelier.voice.v1.voice_service_pb2_grpc import VoiceServiceStub
from atelier_client._channel import DEFAULT_TARGET, checked_timeout, options
from atelier_client._credentials import ANONYMOUS, Credentials
from atelier_client._errors import AtelierError, closed, from_rpc_error
from atelier_client._requests import (
    Clip,
    check_pieces,
    create_voice_requests,
    generate_request,
    message,
    synthesis_config,
    text_requests,
)
from atelier_client._results import ImageCollector, ImageResult, SpeechCollector, SpeechResult
from atelier_client._tracing import carried

OnImageEvent = Callable[[image_pb2.GenerateResponse], None]
OnLoading = Callable[[types_pb2.Loading], None]
Event = TypeVar("Event")


class AsyncClient:
    """Talks to a router, or directly to an imagegen or voice server. Every method raises `AtelierError`.

    `timeout` is the seconds that a call may take, None for no limit. Raises `ValueError` if it is not above 0 or if the
    credentials do not fit the target, and `OSError` if one of their files cannot be read.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        timeout: float | None = 600.0,
        credentials: Credentials = ANONYMOUS,
    ) -> None:
        self._target = target
        self._timeout = checked_timeout(timeout)
        self._credentials = credentials
        self._closed = False
        secure = credentials.channel(target)
        self._channel = (
            grpc.aio.secure_channel(target, secure, options=options(target))
            if secure
            else grpc.aio.insecure_channel(target, options=options(target))
        )
        self._images = ImageServiceStub(self._channel)
        self._voices = VoiceServiceStub(self._channel)
        self._router = RouterServiceStub(self._channel)
        self._models = ModelServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls under way are cancelled."""
        self._closed = True
        await self._channel.close()

    async def image(self, prompt: str, *, on_event: OnImageEvent | None = None, **options: Any) -> ImageResult:
        """Make pictures; `options` are the fields of `GenerateRequest`."""
        collector = ImageCollector()
        async with aclosing(self.generate(generate_request(prompt, **options))) as events:
            async for event in events:
                collector.feed(event)
                if on_event:
                    on_event(event)
        return collector.finish()

    def generate(self, request: image_pb2.GenerateRequest) -> AsyncGenerator[image_pb2.GenerateResponse, None]:
        """Yield the events of a generation as they come. Closing the generator cancels the call."""
        return self._events(lambda: self._images.Generate(request, **self._options()))

    async def say(self, text: str, **options: Any) -> SpeechResult:
        """Speak a text; `options` are the fields of `SynthesisConfig` and `AudioConfig`."""
        collector = SpeechCollector()
        request = message(voice_service_pb2.SynthesizeRequest, text=text, config=synthesis_config(**options))
        async with aclosing(self._events(lambda: self._voices.Synthesize(request, **self._options()))) as events:
            async for event in events:
                collector.feed(event)
        return collector.finish()

    async def speak(
        self, text: AsyncIterable[str], **options: Any
    ) -> AsyncGenerator[voice_service_pb2.SynthesizeStreamResponse, None]:
        """Speak text as it arrives and yield the events: audio starts as soon as a sentence is complete.

        Closing the generator cancels the call. What `text` raises, this raises. When the call ends first, waiting for
        more of `text` is cancelled.
        """
        check_pieces(text, AsyncIterable)
        config = synthesis_config(**options)
        failures: list[Exception] = []
        readers: list[asyncio.Task[Any]] = []

        async def requests() -> AsyncIterator[voice_service_pb2.SynthesizeStreamRequest]:
            if reader := asyncio.current_task():
                readers.append(reader)
            yield voice_service_pb2.SynthesizeStreamRequest(config=config)
            try:
                async for piece in text:
                    for request in text_requests(piece):
                        yield request
            except Exception as failure:  # gRPC would only cancel the call
                failures.append(failure)
                raise

        try:
            async with aclosing(
                self._events(lambda: self._voices.SynthesizeStream(requests(), **self._options()))
            ) as events:
                async for event in events:
                    yield event
        except (AtelierError, asyncio.CancelledError):
            if failures:
                raise failures[0] from None
            raise
        finally:
            for reader in readers:  # a task of gRPC's, which would outlive a call that the server ends
                reader.cancel()

    async def voices(self, language: str = "", model: str = "") -> list[voice_pb2.Voice]:
        """Return the voices the caller may use."""
        request = message(voice_service_pb2.ListVoicesRequest, language=language, model=model)
        with self._errors():
            return list((await self._voices.ListVoices(request, **self._options())).voices)

    async def create_voice(self, voice: str, clip: Clip, **options: Any) -> voice_pb2.Voice:
        """Make a voice from a recording of 3 to 30 s, a file or its bytes; `options` are those of `CreateVoiceConfig`.

        The speaker has to consent, which `consent=True` says. Raises `OSError` if the file cannot be read.
        """
        requests = create_voice_requests(voice, clip, **options)
        with self._errors():
            return (await self._voices.CreateVoice(requests, **self._options())).voice

    async def delete_voice(self, voice: str) -> None:
        """Delete a voice that was made from a clip."""
        request = message(voice_service_pb2.DeleteVoiceRequest, voice=voice)
        with self._errors():
            await self._voices.DeleteVoice(request, **self._options())

    async def route(self, prompt: str, **options: Any) -> router_pb2.RouteResponse:
        """Return what the router would do with an image request."""
        request = message(router_pb2.RouteRequest, request=generate_request(prompt, **options))
        with self._errors():
            return await self._router.Route(request, **self._options())

    async def backends(self) -> list[router_pb2.Backend]:
        """Return the servers behind the router, with their models."""
        with self._errors():
            reply = await self._router.ListBackends(router_pb2.ListBackendsRequest(), **self._options())
            return list(reply.backends)

    async def load_model(
        self, model: str, *, pin: bool = False, on_loading: OnLoading | None = None
    ) -> models_pb2.Model:
        """Load a model of an imagegen, voice or rewrite_llm server, and return it. A router has no models to move."""
        request = message(model_service_pb2.LoadModelRequest, model=model, pin=pin)
        loaded = models_pb2.Model()
        async with aclosing(self._events(lambda: self._models.LoadModel(request, **self._options()))) as events:
            async for event in events:
                if event.HasField("model"):
                    loaded = event.model
                elif on_loading:
                    on_loading(event.loading)
        return loaded

    async def unload_model(self, model: str) -> models_pb2.Model:
        """Free the memory of a model that is neither pinned nor in use, and return it."""
        request = message(model_service_pb2.UnloadModelRequest, model=model)
        with self._errors():
            return (await self._models.UnloadModel(request, **self._options())).model

    async def pin_model(self, model: str, pinned: bool = True) -> models_pb2.Model:
        """Keep a model from being evicted, or no longer, and return it. Pinning does not load."""
        request = message(model_service_pb2.PinModelRequest, model=model, pinned=pinned)
        with self._errors():
            return (await self._models.PinModel(request, **self._options())).model

    async def _events(
        self, begin: "Callable[[], grpc.aio.UnaryStreamCall[Any, Event] | grpc.aio.StreamStreamCall[Any, Event]]"
    ) -> AsyncGenerator[Event, None]:
        """Begin a call, yield what it sends, and cancel it when nobody wants more."""
        with self._errors():
            call = begin()
            try:
                async for event in call:
                    yield event
            finally:
                call.cancel()

    def _options(self) -> dict[str, Any]:
        """Return how every call is made."""
        return {"timeout": self._timeout, "metadata": (*self._credentials.metadata(), *carried())}

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise from_rpc_error(error, self._target, self._credentials) from error
        except grpc.aio.BaseError as error:  # what gRPC says of a closed channel, and of what it cannot send
            raise closed() if self._closed else AtelierError("INTERNAL", str(error)) from error
        except asyncio.CancelledError as error:
            if not self._closed or _cancelled():
                raise
            raise closed("CANCELLED") from error


def _cancelled() -> bool:
    """Tell whether the task that runs is cancelled, and not just the call that it waits for."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
