"""Servers that speak the real protos and say what a test tells them to, behind a real router."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry

from atelier.common.v1 import decision_pb2, types_pb2
from atelier.imagegen.v1 import image_service_pb2, image_service_pb2_grpc
from atelier.models.v1 import model_service_pb2, model_service_pb2_grpc, models_pb2
from atelier.rewrite.v1 import rewrite_service_pb2, rewrite_service_pb2_grpc
from atelier.router.v1 import router_service_pb2_grpc
from atelier.voice.v1 import voice_pb2, voice_service_pb2, voice_service_pb2_grpc
from servekit.app import App
from servekit.errors import ServingError
from servekit.settings import ServerSettings
from servekit.testing import local
from services.router.bootstrap import build
from services.router.settings import RouterSettings

Event = image_service_pb2.GenerateResponse
PICTURE = bytes(range(256)) * 1024


async def _at_once() -> None:
    """Wait for nothing."""


def picture_events(model: str) -> list[Event]:
    """Return the events of one picture of 256 KiB."""
    digest = hashlib.sha256(PICTURE).hexdigest()
    chunks = range(0, len(PICTURE), 65536)
    return [
        Event(queued=types_pb2.Queued(position=1)),
        Event(loading=types_pb2.Loading(model=model, fraction=0.5)),
        Event(progress=types_pb2.Progress(step=1, total=2)),
        Event(preview=image_service_pb2.Preview(index=0, step=1, jpeg=b"small")),
        Event(image=image_service_pb2.ImageHeader(size_bytes=len(PICTURE), sha256=digest)),
        *(Event(chunk=types_pb2.Chunk(data=PICTURE[at : at + 65536], offset=at)) for at in chunks),
        Event(
            summary=image_service_pb2.Summary(
                model=model, images=1, stages=[types_pb2.StageSeconds(stage="denoise", seconds=1.5)]
            )
        ),
    ]


@dataclass
class Imagegen(image_service_pb2_grpc.ImageServiceServicer, model_service_pb2_grpc.ModelServiceServicer):
    """An image server whose next generation a test scripts with `script`."""

    models: Sequence[models_pb2.Model]
    queue_eta_s: float = 0.0
    requests: list[image_service_pb2.GenerateRequest] = field(default_factory=list)
    metadata: list[dict[str, str]] = field(default_factory=list)
    remaining_s: list[float | None] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    script: Callable[[image_service_pb2.GenerateRequest], AsyncIterator[Event]] | None = None

    async def Generate(self, request: Any, context: Any) -> AsyncIterator[Event]:
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        self.remaining_s.append(context.time_remaining())
        try:
            async for event in self.script(request) if self.script else self._picture(request):
                yield event
        finally:
            self.ended.set()

    async def _picture(self, request: Any) -> AsyncIterator[Event]:
        if request.dry_run:
            yield Event(plan=image_service_pb2.Plan(model=request.model, width=64, eta_seconds=7.0))
            yield Event(summary=image_service_pb2.Summary(model=request.model))
            return
        for event in picture_events(request.model):
            yield event

    async def ListModels(self, request: Any, context: Any) -> model_service_pb2.ListModelsResponse:
        return model_service_pb2.ListModelsResponse(models=self.models)

    async def GetStatus(self, request: Any, context: Any) -> model_service_pb2.GetStatusResponse:
        device = models_pb2.Device(kind="cpu", budget_bytes=100, used_bytes=40)
        return model_service_pb2.GetStatusResponse(
            service="imagegen", version="1.2.3", device=device, queued=3, queue_eta_seconds=self.queue_eta_s
        )

    async def _unused(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    GetModel: Any = _unused
    PinModel: Any = _unused
    UnloadModel: Any = _unused
    WatchModels: Any = _unused

    async def LoadModel(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.loads.append(request.model)
        yield model_service_pb2.LoadModelResponse(model=models_pb2.Model(id=request.model))

    def register(self, server: grpc.aio.Server) -> list[str]:
        image_service_pb2_grpc.add_ImageServiceServicer_to_server(self, server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(self, server)
        return ["atelier.imagegen.v1.ImageService"]


@dataclass
class Rewrite(rewrite_service_pb2_grpc.RewriteServiceServicer):
    """A rewrite_llm that favours `favourite` and answers when `ready` lets it."""

    favourite: str = "portraits"
    verdict: int = decision_pb2.VERDICT_ALLOW
    shares: dict[str, float] = field(default_factory=dict)
    ready: Callable[[], Awaitable[None]] = _at_once
    rewritten: str = "a safe garden"
    judged: list[rewrite_service_pb2.JudgePromptRequest] = field(default_factory=list)
    metadata: list[dict[str, str]] = field(default_factory=list)

    async def JudgePrompt(self, request: Any, context: Any) -> rewrite_service_pb2.JudgePromptResponse:
        self.judged.append(request)
        await self.ready()
        self.metadata.append(dict(context.invocation_metadata()))
        selection = self._selection(request) if request.candidates else None
        return rewrite_service_pb2.JudgePromptResponse(screening=self._screening(), selection=selection)

    def _selection(self, request: Any) -> rewrite_service_pb2.SelectModelResponse:
        rest = 0.1 / max(len(request.candidates) - 1, 1)
        shares = self.shares or {each.id: 0.9 if each.id == self.favourite else rest for each in request.candidates}
        return rewrite_service_pb2.SelectModelResponse(
            id=self.favourite,
            scores=[rewrite_service_pb2.CandidateScore(id=name, score=share) for name, share in shares.items()],
            margin=0.8,
            source=decision_pb2.SOURCE_LLM,
            reason="it suits",
            seconds=0.01,
        )

    def _screening(self) -> rewrite_service_pb2.ScreenPromptResponse:
        verdict = decision_pb2.Verdict.ValueType(self.verdict)
        found = [decision_pb2.Finding(category="violence", rule_id="violence.gore", verdict=verdict, score=1.0)]
        return rewrite_service_pb2.ScreenPromptResponse(
            verdict=verdict,
            findings=found if verdict != decision_pb2.VERDICT_ALLOW else [],
            source=decision_pb2.SOURCE_RULES_AND_LLM,
            seconds=0.02,
        )

    async def RewritePrompt(self, request: Any, context: Any) -> rewrite_service_pb2.RewritePromptResponse:
        return rewrite_service_pb2.RewritePromptResponse(
            verdict=decision_pb2.VERDICT_ALLOW if self.rewritten else decision_pb2.VERDICT_BLOCK,
            prompt=self.rewritten,
            changed=True,
            source=decision_pb2.SOURCE_RULES,
            reason="violence was taken out",
            seconds=0.03,
        )

    async def _unused(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    ScreenPrompt: Any = _unused
    SelectModel: Any = _unused

    def register(self, server: grpc.aio.Server) -> list[str]:
        rewrite_service_pb2_grpc.add_RewriteServiceServicer_to_server(self, server)
        return ["atelier.rewrite.v1.RewriteService"]


@dataclass
class Voice(voice_service_pb2_grpc.VoiceServiceServicer):
    """A voice server that repeats what it gets."""

    failure: ServingError | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    metadata: list[dict[str, str]] = field(default_factory=list)
    hang: bool = False

    async def Synthesize(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.metadata.append(dict(context.invocation_metadata()))
        try:
            yield voice_service_pb2.SynthesizeResponse(audio=voice_service_pb2.AudioHeader(sample_rate=8000))
            if self.hang:
                await asyncio.Event().wait()
            if self.failure:
                raise self.failure
            yield voice_service_pb2.SynthesizeResponse(chunk=types_pb2.Chunk(data=request.text.encode()))
        finally:
            self.ended.set()

    async def SynthesizeStream(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        try:
            async for request in requests:
                yield voice_service_pb2.SynthesizeStreamResponse(chunk=types_pb2.Chunk(data=request.text.encode()))
        finally:
            self.ended.set()

    async def GetVoice(self, request: Any, context: Any) -> voice_service_pb2.GetVoiceResponse:
        if self.failure:
            raise self.failure
        return voice_service_pb2.GetVoiceResponse(voice=voice_pb2.Voice(id=request.voice))

    async def ListVoices(self, request: Any, context: Any) -> voice_service_pb2.ListVoicesResponse:
        return voice_service_pb2.ListVoicesResponse(voices=[voice_pb2.Voice(id="espeak/en")])

    async def CreateVoice(self, requests: AsyncIterator[Any], context: Any) -> Any:
        size = sum([len(request.clip) async for request in requests])
        return voice_service_pb2.CreateVoiceResponse(voice=voice_pb2.Voice(id=str(size)))

    async def DeleteVoice(self, request: Any, context: Any) -> voice_service_pb2.DeleteVoiceResponse:
        return voice_service_pb2.DeleteVoiceResponse()

    def register(self, server: grpc.aio.Server) -> list[str]:
        voice_service_pb2_grpc.add_VoiceServiceServicer_to_server(self, server)
        return ["atelier.voice.v1.VoiceService"]


def model(name: str, **facts: Any) -> models_pb2.Model:
    """Return a model that makes pictures from text and is on the device."""
    state = facts.pop("state", models_pb2.MODEL_STATE_READY)
    return models_pb2.Model(
        id=name,
        strengths=facts.pop("strengths", name),
        capabilities=facts.pop("capabilities", ["text_to_image"]),
        residency=models_pb2.Residency(state=state),
        **facts,
    )


def serving(backend: Imagegen | Rewrite | Voice, port: int = 0, **settings: Any) -> AbstractAsyncContextManager[str]:
    """Serve `backend` inside the block, which gets its address."""
    return App(local(ServerSettings, port=port, **settings), backend.register, registry=CollectorRegistry()).serving()


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # the library is not typed
    """Health that a test sets, and that can be too busy to answer."""

    def __init__(self) -> None:
        self.status = health_pb2.HealthCheckResponse.SERVING
        self.busy = False
        self.asked = asyncio.Event()

    async def Check(self, request: Any, context: Any) -> health_pb2.HealthCheckResponse:
        self.asked.set()
        if self.busy:
            await asyncio.Event().wait()
        return health_pb2.HealthCheckResponse(status=self.status)


async def always_healthy(server: grpc.aio.Server) -> None:
    """Let a bare gRPC server say that it serves."""
    servicer = health.aio.HealthServicer()
    await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)


NOWHERE = "127.0.0.1:1"
"""An address where nothing listens."""


@dataclass
class Client:
    """Stubs of everything the router serves."""

    channel: grpc.aio.Channel

    def __post_init__(self) -> None:
        self.images = image_service_pb2_grpc.ImageServiceStub(self.channel)
        self.voice = voice_service_pb2_grpc.VoiceServiceStub(self.channel)
        self.router = router_service_pb2_grpc.RouterServiceStub(self.channel)

    async def events(self, prompt: str, timeout_s: float = 20.0, **fields: Any) -> list[Event]:
        """Return the events of a generation."""
        request = image_service_pb2.GenerateRequest(prompt=prompt, **fields)
        return [event async for event in self.images.Generate(request, timeout=timeout_s)]


@asynccontextmanager
async def router_at(
    imagegen: str = NOWHERE, rewrite: str = NOWHERE, voice: str = NOWHERE, **settings: Any
) -> AsyncIterator[Client]:
    """Run a router over the given targets inside the block, which gets a client of it."""
    targets = {"imagegen_targets": imagegen, "rewrite_target": rewrite, "voice_targets": voice}
    app = build(local(RouterSettings, port=0, **{"probe_timeout_s": 10.0, **targets, **settings}))
    async with app.serving() as address, grpc.aio.insecure_channel(address) as channel:
        yield Client(channel)


@dataclass
class Studio:
    """A router and one server of each kind."""

    imagegen: Imagegen
    rewrite: Rewrite
    voice: Voice
    client: Client


@pytest.fixture
async def studio() -> AsyncIterator[Studio]:
    """Run a router before one fake server of each kind."""
    imagegen = Imagegen([model("general", is_default=True), model("portraits", tags=["portrait"])])
    rewrite, voice = Rewrite(), Voice()
    async with (
        serving(imagegen) as images_at,
        serving(rewrite) as rewrite_at,
        serving(voice) as voice_at,
        router_at(images_at, rewrite_at, voice_at, decision_budget_s=5.0) as client,
    ):
        yield Studio(imagegen, rewrite, voice, client)
