"""The composition root: settings -> families -> residency -> use case -> servicers -> app."""

import logging
import platform
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import grpc

from atelier.models.v1 import models_pb2
from atelier.voice.v1 import voice_service_pb2, voice_service_pb2_grpc
from servekit.admission import Admission
from servekit.app import App
from servekit.clock import SystemClock
from servekit.device import CurrentDevice, DevicePlan, exercise
from servekit.device.host import usable_cores, usable_memory
from servekit.heartbeat import Heartbeat
from servekit.metrics import new_registry
from servekit.model_metrics import export_state
from servekit.model_service import WATCH_METHOD, ModelServicer
from servekit.residency import ModelSpec, Residency
from servekit.settings import blaming
from servekit.tracing import from_environment
from servekit.worker import DeviceWorker
from services.voice import catalog as catalogs
from services.voice import families
from services.voice.catalog import Catalog, ModelRow
from services.voice.checks import clip
from services.voice.checks.audio import Inspector
from services.voice.clones import Clones
from services.voice.cloning import Cloning
from services.voice.convert import Reader
from services.voice.domain import Placement, Utterance, VoiceUnusable
from services.voice.encoders.factory import Encoders
from services.voice.engines.loader import EngineLoader
from services.voice.metrics import VoiceMetrics
from services.voice.ports import Capabilities, Engine, Family
from services.voice.servicer import VoiceServicer
from services.voice.settings import VoiceSettings
from services.voice.store import DiskVoices
from services.voice.synthesize import Synthesize
from services.voice.text import languages
from services.voice.threads import in_thread
from services.voice.turns import Calls
from services.voice.voices import VoiceBook

logger = logging.getLogger(__name__)

SERVICE = "voice"
VERSION = version("atelier-studio")
_LIBRARIES = ("espeakng-loader", "numpy", "soundfile")


def build(settings: VoiceSettings) -> App:
    """Return the app. Raises `WrongSettings` with every mistake of the catalog, and for models that it lacks."""
    registry = new_registry(SERVICE, VERSION)
    parts = _parts(settings, VoiceMetrics(registry))
    voices, models = _voices(parts), _models(parts)
    life = _Life(parts, _warm(settings, parts.catalog))
    parts.metrics.expect(parts.catalog.rows)
    export_state(SERVICE, registry, parts.device, parts.admission, parts.residency, parts.worker)

    def register(server: grpc.aio.Server) -> list[str]:
        voice_service_pb2_grpc.add_VoiceServiceServicer_to_server(voices, server)
        return [voice_service_pb2.DESCRIPTOR.services_by_name["VoiceService"].full_name, *models.register(server)]

    return App(
        settings,
        register,
        registry=registry,
        start=life.start,
        stop=life.stop,
        lasting=[WATCH_METHOD],
        tracing=from_environment(SERVICE, VERSION),
        heartbeat=Heartbeat(parts.beat, clock=SystemClock(), stalled_after_s=settings.stalled_after_s),
    )


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the use cases share."""

    settings: VoiceSettings
    catalog: Catalog
    families: Mapping[str, Family]
    capabilities: Mapping[str, Capabilities]
    plan: DevicePlan
    """The device until an engine has chosen one."""
    device: CurrentDevice
    worker: DeviceWorker
    metrics: VoiceMetrics
    residency: Residency[Engine]
    admission: Admission
    calls: Calls
    book: VoiceBook
    store: DiskVoices
    clones: Clones
    codecs: Executor

    async def beat(self) -> None:
        """Take a turn on the device thread, and use the device that an engine has chosen, if one has."""
        await self.worker.run(lambda _: None if self.device.plan is self.plan else exercise(self.device.plan))


def _parts(settings: VoiceSettings, metrics: VoiceMetrics) -> _Parts:
    with blaming(settings, "catalog_file"):
        catalog = catalogs.load(settings.catalog_file, families=families.names())
    plan = _plan(settings)
    device, worker = CurrentDevice(plan), DeviceWorker("voice-device")
    made = _families(settings, catalog, device, worker, metrics)
    codecs = ThreadPoolExecutor(plan.threads, thread_name_prefix="voice-codec")
    store = DiskVoices(settings.voices_dir, most=settings.voices_per_caller)
    admission = Admission(capacity=settings.max_streams, queue_limit=settings.queue_limit)
    return _Parts(
        settings=settings,
        catalog=catalog,
        families=made,
        capabilities={row.id: made[row.family].capabilities(row.spec) for row in catalog.rows.values()},
        plan=plan,
        device=device,
        worker=worker,
        metrics=metrics,
        residency=_residency(settings, catalog, made, plan, metrics),
        admission=admission,
        calls=Calls(admission, most=settings.max_streams + settings.queue_limit),
        book=VoiceBook(catalog),
        store=store,
        clones=Clones(store, codecs, catalog.rows, resident=settings.resident_voices),
        codecs=codecs,
    )


def _voices(parts: _Parts) -> VoiceServicer:
    reader = Reader(parts.book, parts.capabilities)
    synthesis, cloning = _synthesis(parts), _cloning(parts)
    return VoiceServicer(reader, synthesis, parts.book, parts.clones, cloning, idle_s=parts.settings.stream_idle_s)


def _synthesis(parts: _Parts) -> Synthesize:
    return Synthesize(
        parts.catalog,
        parts.capabilities,
        parts.book,
        parts.clones,
        parts.calls,
        parts.residency,
        inspect=Inspector,
        encoders=Encoders(),
        languages=languages.load(),
        metrics=parts.metrics,
        codecs=parts.codecs,
        clock=SystemClock(),
        buffer_bytes=parts.settings.stream_buffer_bytes,
        chunk_bytes=parts.settings.chunk_bytes,
    )


def _cloning(parts: _Parts) -> Cloning:
    return Cloning(
        parts.catalog,
        parts.capabilities,
        parts.book,
        parts.clones,
        parts.calls,
        parts.residency,
        read_clip=clip.read,
        threads=parts.codecs,
        now=lambda: datetime.now(UTC),
    )


def _models(parts: _Parts) -> ModelServicer:
    return ModelServicer(
        SERVICE,
        VERSION,
        [_model(row, parts.capabilities[row.id]) for row in parts.catalog.rows.values()],
        residency=parts.residency,
        admission=parts.admission,
        device=parts.device,
        libraries={name: version(name) for name in _LIBRARIES},
    )


@dataclass(frozen=True, slots=True)
class _Life:
    """What happens before the first call and after the last."""

    parts: _Parts
    warm: tuple[ModelRow, ...]

    async def start(self) -> None:
        """Ask the engines for their voices and load the warm ones."""
        parts = self.parts
        logger.info("device %s", parts.plan.describe())
        await parts.worker.start()
        for row in parts.catalog.rows.values():
            parts.book.add(row.id, await parts.families[row.family].roster(row.spec))
        with suppress(VoiceUnusable):  # logged; all else works without it
            await in_thread(parts.codecs, parts.store.tidy)
        await parts.residency.start()
        for row in self.warm:
            await self._warm_up(row)

    async def _warm_up(self, row: ModelRow) -> None:
        """Load an engine and let it speak a word, so that the first caller does not pay for what happens once."""
        async with self.parts.residency.acquire(row.id) as lease:
            if not self.parts.book.has(row.default_voice):  # all its voices are made from clips
                return
            voice = self.parts.book.get(row.default_voice)
            async for _ in lease.value.speak(Utterance("Ready.", voice, voice.languages[0], seed=0)):
                pass

    async def stop(self) -> None:
        """End the engines."""
        await self.parts.residency.close()
        await self.parts.worker.close()
        self.parts.codecs.shutdown()


def _families(
    settings: VoiceSettings, catalog: Catalog, device: CurrentDevice, worker: DeviceWorker, metrics: VoiceMetrics
) -> dict[str, Family]:
    plan = device.plan

    def placed(place: Placement) -> None:
        metrics.placed(place.model, place.mode, place.before)
        device.change(replace(place.plan, total_bytes=plan.total_bytes, budget_bytes=plan.budget_bytes))

    own: dict[str, dict[str, Any]] = {
        "espeak": {"workers": settings.espeak_workers, "buffer_ms": settings.espeak_buffer_ms},
        "piper": {"workers": settings.piper_workers},
        "xtts": {
            "worker": worker,
            "device": settings.xtts_device,
            "dtype": settings.xtts_dtype,
            "batch": settings.xtts_batch,
            "threads": plan.threads,
            "agreed": settings.coqui_tos_agreed,
            "models_dir": settings.models_dir,
            "on_placed": placed,
        },
    }
    names = {row.family for row in catalog.rows.values()}
    return {name: families.create(name, **own.get(name, {})) for name in names}


def _plan(settings: VoiceSettings) -> DevicePlan:
    """Return a plan made without torch, which only XTTS imports, and then decides for itself where it runs."""
    total = usable_memory()
    return DevicePlan(
        kind="cpu",
        device="cpu",
        name=platform.processor() or platform.machine(),
        dtype="float32",
        capability=None,
        arch_list=(),
        threads=usable_cores(),
        total_bytes=total,
        budget_bytes=int(total * settings.memory_fraction),
        reason="engines run on the CPU unless they find a GPU of use",
    )


def _residency(
    settings: VoiceSettings,
    catalog: Catalog,
    made: Mapping[str, Family],
    plan: DevicePlan,
    metrics: VoiceMetrics,
) -> Residency[Engine]:
    return Residency(
        [ModelSpec(row.id, bytes=row.bytes, load_s=row.load_s) for row in catalog.rows.values()],
        EngineLoader(catalog, made),
        budget_bytes=plan.budget_bytes,
        idle_timeout_s=settings.idle_timeout_s,
        on_event=metrics.models.observe,
    )


def _model(row: ModelRow, capabilities: Capabilities) -> models_pb2.Model:
    return models_pb2.Model(
        id=row.id,
        display_name=row.display_name,
        strengths=row.strengths,
        family=row.family,
        source=row.source,
        license=row.license,
        gated=row.gated,
        capabilities=capabilities.names(),
        tags=row.tags,
        is_default=row.default,
        defaults={"voice": row.default_voice, "sample_rate": str(capabilities.sample_rate)},
    )


def _warm(settings: VoiceSettings, catalog: Catalog) -> tuple[ModelRow, ...]:
    with blaming(settings, "warm"):
        return tuple(catalog.default() if each == "default" else catalog.get(each) for each in settings.warm)
