"""`VoiceService` on the wire."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc

from atelier.voice.v1 import voice_service_pb2 as wire
from atelier.voice.v1 import voice_service_pb2_grpc
from servekit.context import current
from servekit.errors import InvalidRequest, Violation
from services.voice import convert, convert_voices
from services.voice.clones import Clones
from services.voice.cloning import Cloning
from services.voice.domain import TextPart, Voice
from services.voice.synthesize import Synthesize
from services.voice.text.speakable import NOTHING_TO_SPEAK, is_speakable
from services.voice.voices import VoiceBook

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class VoiceServicer(voice_service_pb2_grpc.VoiceServiceServicer):
    """Converts in, speaks, converts out."""

    def __init__(
        self, reader: convert.Reader, synthesize: Synthesize, book: VoiceBook, clones: Clones, cloning: Cloning
    ) -> None:
        self._reader = reader
        self._synthesize = synthesize
        self._book = book
        self._clones = clones
        self._cloning = cloning

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
        first = await anext(request_iterator, wire.SynthesizeStreamRequest())
        order = self._reader.stream_config(first, await self._made(first.config.voice))
        async with (
            aclosing(_parts(request_iterator)) as parts,
            aclosing(self._synthesize(order, parts)) as events,
        ):
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
        wanted = convert_voices.voice_wanted(await anext(request_iterator, wire.CreateVoiceRequest()))
        clip = bytearray()
        with self._cloning.receiving():
            async for request in request_iterator:
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
