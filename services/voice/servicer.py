"""`VoiceService` on the wire."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, TypeAlias, TypeVar

import grpc

from atelier.voice.v1 import voice_service_pb2 as wire
from atelier.voice.v1 import voice_service_pb2_grpc
from servekit.context import current
from servekit.errors import DeadlineExceeded, InvalidRequest, Violation
from services.voice import convert, convert_voices
from services.voice.clones import Clones
from services.voice.cloning import Cloning
from services.voice.domain import TextPart, Voice
from services.voice.synthesize import Synthesize
from services.voice.text.speakable import NOTHING_TO_SPEAK, is_speakable
from services.voice.voices import VoiceBook

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Message = TypeVar("Message")


class VoiceServicer(voice_service_pb2_grpc.VoiceServiceServicer):
    """Converts in, speaks, converts out.

    `idle_s` is how many seconds a caller may take to send the next message of a stream.
    """

    def __init__(
        self,
        reader: convert.Reader,
        synthesize: Synthesize,
        book: VoiceBook,
        clones: Clones,
        cloning: Cloning,
        *,
        idle_s: float | None,
    ) -> None:
        self._reader = reader
        self._synthesize = synthesize
        self._book = book
        self._clones = clones
        self._cloning = cloning
        self._idle_s = idle_s

    async def Synthesize(
        self, request: wire.SynthesizeRequest, context: Context
    ) -> AsyncIterator[wire.SynthesizeResponse]:
        """Speak a text."""
        text, order = self._reader.synthesis(request, await self._made(request.config.voice))
        async with (
            aclosing(_only(text)) as parts,
            aclosing(self._synthesize(order, parts, len(text))) as events,
        ):
            async for event in events:
                yield convert.response(wire.SynthesizeResponse, event)

    async def SynthesizeStream(
        self, request_iterator: AsyncIterator[wire.SynthesizeStreamRequest], context: Context
    ) -> AsyncIterator[wire.SynthesizeStreamResponse]:
        """Speak text as it arrives."""
        async with aclosing(_in_time(request_iterator, self._idle_s)) as requests:
            first = await anext(requests, wire.SynthesizeStreamRequest())
            order = self._reader.stream_config(first, await self._made(first.config.voice))
            async with aclosing(_parts(requests)) as parts, aclosing(self._synthesize(order, parts)) as events:
                async for event in events:
                    yield convert.response(wire.SynthesizeStreamResponse, event)

    async def ListVoices(self, request: wire.ListVoicesRequest, context: Context) -> wire.ListVoicesResponse:
        """Return voices, ordered by id."""
        convert_voices.check_filter(request)
        made = await self._clones.listed(current().caller)
        voices = self._book.listed(request.language, request.model, made)
        return wire.ListVoicesResponse(voices=map(convert_voices.voice, voices))

    async def GetVoice(self, request: wire.GetVoiceRequest, context: Context) -> wire.GetVoiceResponse:
        """Return one voice."""
        voice_id = convert_voices.voice_id(request.voice)
        voice = self._book.get(voice_id, await self._made(voice_id))
        return wire.GetVoiceResponse(voice=convert_voices.voice(voice))

    async def CreateVoice(
        self, request_iterator: AsyncIterator[wire.CreateVoiceRequest], context: Context
    ) -> wire.CreateVoiceResponse:
        """Make a voice from a clip."""
        clip = bytearray()
        async with aclosing(_in_time(request_iterator, self._idle_s)) as requests:
            wanted = convert_voices.voice_wanted(await anext(requests, wire.CreateVoiceRequest()))
            with self._cloning.receiving():
                async for request in requests:
                    clip += convert_voices.clip_part(request, len(clip))
                voice = await self._cloning.create(current().caller, wanted, bytes(clip))
        return wire.CreateVoiceResponse(voice=convert_voices.voice(voice))

    async def DeleteVoice(self, request: wire.DeleteVoiceRequest, context: Context) -> wire.DeleteVoiceResponse:
        """Remove a voice made from a clip."""
        await self._cloning.delete(current().caller, convert_voices.voice_id(request.voice))
        return wire.DeleteVoiceResponse()

    async def _made(self, voice_id: str) -> Sequence[Voice]:
        """Return the voices made from clips that the caller may mean."""
        built_in = not voice_id or self._book.has(voice_id)
        return () if built_in else await self._clones.near(current().caller, voice_id)


async def _only(text: str) -> AsyncGenerator[TextPart, None]:
    yield text


async def _in_time(messages: AsyncIterator[Message], idle_s: float | None) -> AsyncGenerator[Message, None]:
    """Yield the messages of a stream. Raises `DeadlineExceeded` when the next takes longer than `idle_s`.

    A caller that sends nothing more, and does not hang up either, would keep its place among the open calls.
    """
    while True:
        try:
            async with asyncio.timeout(idle_s):
                message = await anext(messages)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise DeadlineExceeded(f"nothing was sent for {idle_s:g} s, and the stream not ended") from None
        yield message


async def _parts(requests: AsyncIterator[wire.SynthesizeStreamRequest]) -> AsyncGenerator[TextPart, None]:
    """Yield the text of a stream. Raises `InvalidRequest`, also at its end if there was nothing to speak."""
    characters, speakable = 0, False
    async for request in requests:
        part = convert.text_part(request)
        if isinstance(part, str):
            characters += len(part)
            speakable = speakable or is_speakable(part)
        yield part
    if not characters:
        raise InvalidRequest([Violation("text", "is required: the stream ended without any")])
    if not speakable:
        raise InvalidRequest([Violation("text", NOTHING_TO_SPEAK)])
