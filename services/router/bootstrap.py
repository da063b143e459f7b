"""The composition root: settings to app."""

import asyncio
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

import grpc

from atelier.common.v1 import decision_pb2
from atelier.imagegen.v1 import image_service_pb2
from atelier.router.v1 import router_service_pb2, router_service_pb2_grpc
from atelier.voice.v1 import voice_service_pb2
from servekit.app import App
from servekit.channels import Link, RenewedChannel
from servekit.clock import SystemClock
from servekit.metrics import new_registry
from servekit.tracing import from_environment
from services.router.backends import targets
from services.router.backends.channels import open_channel
from services.router.backends.fleet import Fleet
from services.router.backends.images import ImageFleet
from services.router.backends.judge import RewriteJudge
from services.router.backends.server import Backend, Server
from services.router.metrics import RouterMetrics
from services.router.rank import Ranking
from services.router.relay import Opening, Relay
from services.router.route import ImageRouter, Policy
from services.router.rules import Blocklist
from services.router.servicer import ImageServicer, RouterServicer
from services.router.settings import RouterSettings
from services.router.slots import Slots

SERVICE = "router"
VERSION = version("atelier-studio")
_BLOCKLIST = Path(__file__).with_name("blocklist.toml")
_IMAGES = image_service_pb2.DESCRIPTOR.services_by_name["ImageService"]
_VOICE = voice_service_pb2.DESCRIPTOR.services_by_name["VoiceService"]
_ROUTER = router_service_pb2.DESCRIPTOR.services_by_name["RouterService"]
_REPEATABLE = (
    "atelier.models.v1.ModelService/GetStatus",
    "atelier.models.v1.ModelService/ListModels",
    "atelier.voice.v1.VoiceService/GetVoice",
    "atelier.voice.v1.VoiceService/ListVoices",
)
"""Reads: gRPC may send them again when a server is unreachable."""


def build(settings: RouterSettings) -> App:
    """Return the router's app; raises `ValueError` if a target is malformed."""
    registry = new_registry(SERVICE, VERSION)
    metrics = RouterMetrics(registry)
    imagegen = _fleet("imagegen", settings.imagegen_targets, settings, metrics)
    voice = _fleet("voice", settings.voice_targets, settings, metrics)
    rewrite = _fleet("rewrite_llm", settings.rewrite_target, settings, metrics)
    fleets = (imagegen, rewrite, voice)
    judge = RewriteJudge(
        _judge_connection(settings),
        decision_s=settings.decision_budget_s,
        rewrite_s=settings.rewrite_budget_s,
        pause_s=settings.judge_pause_s,
    )
    images = ImageFleet(imagegen)
    router = ImageRouter(judge, images, Blocklist.load(_BLOCKLIST), _policy(settings), metrics)
    slots = Slots(settings.max_calls)
    margin_s = settings.hop_margin_s
    image_servicer = ImageServicer(router, images, slots, margin_s=margin_s, speculative_load=settings.speculative_load)
    router_servicer = RouterServicer(router, images, partial(_list_servers, fleets), margin_s=margin_s)
    relay = Relay(voice, slots, metrics, margin_s=margin_s, openings=_OPENINGS)

    def register(server: grpc.aio.Server) -> Sequence[str]:
        router_service_pb2_grpc.add_RouterServiceServicer_to_server(router_servicer, server)
        server.add_generic_rpc_handlers((image_servicer.handler(), relay.handler(_VOICE)))
        return [_IMAGES.full_name, _ROUTER.full_name, _VOICE.full_name]

    async def start() -> None:
        await asyncio.gather(*(fleet.start() for fleet in fleets))

    async def stop() -> None:
        await asyncio.gather(judge.close(), *(fleet.stop() for fleet in fleets))

    tracing = from_environment(SERVICE, VERSION)
    return App(settings, register, registry=registry, start=start, stop=stop, tracing=tracing, edge=True)


def _fleet(service: str, listed: str, settings: RouterSettings, metrics: RouterMetrics) -> Fleet:
    link = Link.of(settings)

    def connect(name: str, address: str, target: str) -> Server:
        channel = open_channel(
            address,
            link,
            max_message_bytes=settings.max_message_bytes,
            repeatable=_REPEATABLE,
            server_name=targets.server_name(target),
        )
        return Server(service, name, address, channel, metrics)

    return Fleet(
        service,
        targets.parse(listed),
        connect=connect,
        resolve=targets.Resolver(settings.probe_timeout_s),
        stamp=link.stamp,
        clock=SystemClock(),
        refresh_s=settings.refresh_s,
        probe_timeout_s=settings.probe_timeout_s,
    )


def _judge_connection(settings: RouterSettings) -> RenewedChannel:
    link = Link.of(settings)
    connect = partial(
        open_channel,
        settings.rewrite_target,
        link,
        max_message_bytes=settings.max_message_bytes,
        repeatable=RewriteJudge.REPEATABLE,
        watch_health=True,
    )
    return RenewedChannel(link, connect, grace_s=settings.rewrite_budget_s)


def _policy(settings: RouterSettings) -> Policy:
    ranking = Ranking(weight=settings.readiness_weight, band=settings.readiness_band)
    return Policy(ranking, require_screening=settings.require_screening)


async def _list_servers(fleets: Sequence[Fleet]) -> list[Backend]:
    described = await asyncio.gather(*(fleet.describe() for fleet in fleets))
    return [backend for fleet in described for backend in fleet]


def _routed(server: str) -> decision_pb2.Routed:
    return decision_pb2.Routed(
        backend=server, source=decision_pb2.SOURCE_RULES, reason="it is the least busy voice server"
    )


def _opening(kind: type[voice_service_pb2.SynthesizeResponse | voice_service_pb2.SynthesizeStreamResponse]) -> Opening:
    return Opening(
        announce=lambda server: kind(routed=_routed(server)).SerializeToString(),
        is_output=lambda message: kind.FromString(message).WhichOneof("event") not in _BEFORE_SPEECH,
    )


_BEFORE_SPEECH = frozenset({"queued", "loading"})
"""Events after which another server may begin anew without the listener hearing anything twice."""
_OPENINGS = {
    "Synthesize": _opening(voice_service_pb2.SynthesizeResponse),
    "SynthesizeStream": _opening(voice_service_pb2.SynthesizeStreamResponse),
}
