"""The synchronous client, for scripts and threads."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import grpc

from atelier.imagegen.v1 import image_service_pb2 as image_pb2
from atelier.imagegen.v1.image_service_pb2_grpc import ImageServiceStub
from atelier.router.v1 import router_service_pb2 as router_pb2
from atelier.router.v1.router_service_pb2_grpc import RouterServiceStub
from atelier.voice.v1 import voice_pb2, voice_service_pb2
from atelier.voice.v1.voice_service_pb2_grpc import VoiceServiceStub
from atelier_client._channel import DEFAULT_TARGET, OPTIONS
from atelier_client._credentials import ANONYMOUS, Credentials
from atelier_client._errors import AtelierError, from_rpc_error
from atelier_client._requests import create_voice_requests, generate_request, synthesis_config, text_parts
from atelier_client._results import ImageCollector, ImageResult, SpeechCollector, SpeechResult
from atelier_client._tracing import carried

Event = TypeVar("Event")
Event_co = TypeVar("Event_co", covariant=True)
OnImageEvent = Callable[[image_pb2.GenerateResponse], None]


class _Call(Protocol[Event_co]):
    """A call that sends events."""

    def __iter__(self) -> Iterator[Event_co]: ...

    def cancel(self) -> object: ...


class Client:
    """Talks to a router, or directly to an imagegen or voice server. Every method raises `AtelierError`."""

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        timeout: float | None = 600.0,
        credentials: Credentials = ANONYMOUS,
    ) -> None:
        self._target = target
        self._timeout = timeout
        self._credentials = credentials
        secure = credentials.channel(target)
        self._channel = (
            grpc.secure_channel(target, secure, options=OPTIONS)
            if secure
            else grpc.insecure_channel(target, options=OPTIONS)
        )
        self._images = ImageServiceStub(self._channel)
        self._voices = VoiceServiceStub(self._channel)
        self._router = RouterServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls under way are cancelled."""
        self._channel.close()

    def image(self, prompt: str, *, on_event: OnImageEvent | None = None, **options: Any) -> ImageResult:
        """Make pictures; `options` are the fields of `GenerateRequest`."""
        collector = ImageCollector()
        with closing(self.generate(generate_request(prompt, **options))) as events:
            for event in events:
                collector.feed(event)
                if on_event:
                    on_event(event)
        return collector.finish()

    def generate(self, request: image_pb2.GenerateRequest) -> Generator[image_pb2.GenerateResponse, None, None]:
        """Yield the events of a generation as they come. Closing the iterator cancels the call."""
        yield from self._events(self._images.Generate(request, **self._options()))

    def say(self, text: str, **options: Any) -> SpeechResult:
        """Speak a text; `options` are the fields of `SynthesisConfig` and `AudioConfig`."""
        collector = SpeechCollector()
        request = voice_service_pb2.SynthesizeRequest(text=text, config=synthesis_config(**options))
        with closing(self._events(self._voices.Synthesize(request, **self._options()))) as events:
            for event in events:
                collector.feed(event)
        return collector.finish()

    def speak(
        self, text: Iterable[str], **options: Any
    ) -> Generator[voice_service_pb2.SynthesizeStreamResponse, None, None]:
        """Speak text as it arrives and yield the events: audio starts as soon as a sentence is complete.

        Closing the iterator cancels the call. What `text` raises, this raises.
        """
        config = synthesis_config(**options)
        failures: list[Exception] = []

        def requests() -> Iterator[voice_service_pb2.SynthesizeStreamRequest]:
            yield voice_service_pb2.SynthesizeStreamRequest(config=config)
            try:
                for piece in text:
                    for part in text_parts(piece):
                        yield voice_service_pb2.SynthesizeStreamRequest(text=part)
            except Exception as failure:  # of which gRPC would only say that there was one
                failures.append(failure)
                raise

        try:
            yield from self._events(self._voices.SynthesizeStream(requests(), **self._options()))
        except AtelierError:
            if failures:
                raise failures[0] from None
            raise

    def voices(self, language: str = "", model: str = "") -> list[voice_pb2.Voice]:
        """Return the voices the caller may use."""
        request = voice_service_pb2.ListVoicesRequest(language=language, model=model)
        with self._errors():
            return list(self._voices.ListVoices(request, **self._options()).voices)

    def create_voice(self, voice: str, clip: bytes | str | Path, **options: Any) -> voice_pb2.Voice:
        """Make a voice from a recording of 3 to 30 s, a file or its bytes; `options` are those of `CreateVoiceConfig`.

        The speaker has to consent, which `consent=True` says. Raises `OSError` if the file cannot be read.
        """
        requests = create_voice_requests(voice, clip, **options)
        with self._errors():
            return self._voices.CreateVoice(requests, **self._options()).voice

    def delete_voice(self, voice: str) -> None:
        """Delete a voice that was made from a clip."""
        with self._errors():
            self._voices.DeleteVoice(voice_service_pb2.DeleteVoiceRequest(voice=voice), **self._options())

    def route(self, prompt: str, **options: Any) -> router_pb2.RouteResponse:
        """Return what the router would do with an image request."""
        request = router_pb2.RouteRequest(request=generate_request(prompt, **options))
        with self._errors():
            return self._router.Route(request, **self._options())

    def backends(self) -> list[router_pb2.Backend]:
        """Return the servers behind the router, with their models."""
        with self._errors():
            return list(self._router.ListBackends(router_pb2.ListBackendsRequest(), **self._options()).backends)

    def _events(self, call: "_Call[Event]") -> Generator[Event, None, None]:
        """Yield what a call sends, and cancel it when nobody wants more."""
        with self._errors():
            try:
                yield from call
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
            raise from_rpc_error(error, self._target) from error
