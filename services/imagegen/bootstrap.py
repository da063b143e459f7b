"""The composition root: settings -> device -> residency -> use case -> servicers -> app."""

import logging
import secrets
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import PurePath

import grpc
from prometheus_client import CollectorRegistry

from atelier.imagegen.v1 import image_service_pb2, image_service_pb2_grpc
from servekit.admission import Admission
from servekit.app import App
from servekit.channels import Link
from servekit.clock import SystemClock
from servekit.device import (
    CurrentDevice,
    DevicePlan,
    ModuleHostTier,
    activate,
    exercise,
    host_budget_bytes,
    plan_device,
)
from servekit.heartbeat import Heartbeat
from servekit.metrics import new_registry
from servekit.model_metrics import export_state
from servekit.model_service import WATCH_METHOD, ModelServicer
from servekit.residency import ModelSpec, Residency
from servekit.settings import blaming, variable
from servekit.tracing import from_environment
from servekit.worker import DeviceWorker
from services.imagegen import reading
from services.imagegen.attempts import Attempts
from services.imagegen.backends.rewriter import GrpcRewriter
from services.imagegen.batching import Batcher
from services.imagegen.catalog import Catalog, ModelRow
from services.imagegen.checks.black import is_black
from services.imagegen.checks.nsfw import NsfwCheck
from services.imagegen.domain import Choice, SafetyPolicy
from services.imagegen.engines.loader import EngineLoader
from services.imagegen.engines.registry import FAMILIES
from services.imagegen.engines.tokens import Tokenizers
from services.imagegen.engines.weights import WeightStore
from services.imagegen.generate import Generate
from services.imagegen.life import Life
from services.imagegen.metrics import ImagegenMetrics
from services.imagegen.places import named
from services.imagegen.plan import Limits
from services.imagegen.ports import CountTokens
from services.imagegen.profiles import Profile, choices, fitted, profiles
from services.imagegen.responses import to_model
from services.imagegen.servicer import ImageServicer
from services.imagegen.settings import ImagegenSettings

logger = logging.getLogger(__name__)

_DISK_BYTES_PER_S = 1e9
"""Pace of loading that is assumed before the first load."""
_SEED_BITS = 32
_LIBRARIES = ("diffusers", "torch", "transformers")
SERVICE = "imagegen"
VERSION = version("atelier-studio")


def build(settings: ImagegenSettings, registry: CollectorRegistry | None = None) -> App:
    """Return the app; `registry` gets its metrics, a new one by default.

    Raises `WrongSettings` with every mistake of the catalog, for models that it lacks and for what can be no place of
    weights, and `DeviceUnavailable`.
    """
    catalog = reading.configured(settings, FAMILIES)
    plan = _plan(settings)
    catalog, changes = fitted(catalog, plan.kind)
    host_bytes = host_budget_bytes(plan, settings.host_fraction)
    found = profiles(catalog, plan, host_bytes=host_bytes, compiled=settings.compile)
    chosen = choices(catalog, found, changes)
    registry = registry or new_registry(SERVICE, VERSION)
    metrics = ImagegenMetrics(registry)
    worker = DeviceWorker("imagegen-device", on_start=partial(activate, plan))
    store = _store(settings)
    with blaming(settings, "models"):
        offered, hidden = _offered(catalog, store, settings.models)
    _tell_of_missing_models(settings, offered)
    residency = _residency(settings, catalog, store, plan, found, worker, metrics)
    admission = Admission(capacity=settings.max_running, queue_limit=settings.queue_limit)
    safety = _safety_check(settings, plan, worker, store)
    rewriter = _rewriter(settings)
    attempts = Attempts(
        catalog,
        offered,
        residency,
        is_black=is_black,
        safety_check=safety,
        rewriter=rewriter,
        metrics=metrics,
        fetch_adapter=store.adapter_fetcher(catalog),
    )
    tokenizers = Tokenizers(catalog, store)
    generate = _generate(settings, catalog, offered, admission, residency, attempts, metrics, tokenizers, chosen)
    device = CurrentDevice(plan)
    models = _model_servicer(catalog, offered, admission, residency, device)
    metrics.expect({model: catalog.get(model).fallback for model in offered})
    metrics.models.expect({catalog.get(model).weights for model in offered})
    export_state(SERVICE, registry, device, admission, residency, worker)
    life = Life(worker, residency, safety, rewriter, _warm(settings, catalog, offered), plan, hidden, chosen)

    def register(server: grpc.aio.Server) -> list[str]:
        servicer = ImageServicer(generate, settings.chunk_bytes)
        image_service_pb2_grpc.add_ImageServiceServicer_to_server(servicer, server)
        return [image_service_pb2.DESCRIPTOR.services_by_name["ImageService"].full_name, *models.register(server)]

    return App(
        settings,
        register,
        registry=registry,
        start=life.start,
        stop=life.stop,
        lasting=[WATCH_METHOD],
        tracing=from_environment(SERVICE, VERSION),
        heartbeat=Heartbeat(
            lambda: worker.run(lambda _: exercise(plan)), clock=SystemClock(), stalled_after_s=settings.stalled_after_s
        ),
    )


def _plan(settings: ImagegenSettings) -> DevicePlan:
    with blaming(settings, "device"):
        return plan_device(
            settings.device, dtype=settings.dtype, threads=settings.threads, memory_fraction=settings.memory_fraction
        )


def _store(settings: ImagegenSettings) -> WeightStore:
    return WeightStore(
        settings.models_dir,
        token=_token(settings),
        download=settings.download,
        allow_pickle=settings.allow_pickle,
        endpoint=settings.hf_endpoint or None,
    )


def _generate(
    settings: ImagegenSettings,
    catalog: Catalog,
    offered: frozenset[str],
    admission: Admission,
    residency: Residency[Batcher],
    attempts: Attempts,
    metrics: ImagegenMetrics,
    count_tokens: CountTokens,
    choices: Mapping[str, Sequence[Choice]],
) -> Generate:
    return Generate(
        catalog,
        offered,
        _limits(settings),
        admission,
        residency,
        attempts,
        metrics,
        random_seed=partial(secrets.randbits, _SEED_BITS),
        count_tokens=count_tokens,
        versions={"atelier": VERSION, **_versions()},
        choices=choices,
        progress_per_s=settings.progress_per_s,
    )


def _model_servicer(
    catalog: Catalog,
    offered: frozenset[str],
    admission: Admission,
    residency: Residency[Batcher],
    device: CurrentDevice,
) -> ModelServicer:
    return ModelServicer(
        SERVICE,
        VERSION,
        [to_model(row) for row in catalog.models.values() if row.id in offered],
        residency=residency,
        admission=admission,
        device=device,
        weights={row.id: row.weights for row in catalog.models.values()},
        libraries=_versions(),
    )


def _versions() -> dict[str, str]:
    return {each: version(each) for each in _LIBRARIES}


def _rewriter(settings: ImagegenSettings) -> GrpcRewriter | None:
    if not settings.rewrite_address:
        return None
    return GrpcRewriter(settings.rewrite_address, settings.rewrite_timeout_s, Link.of(settings))


def _token(settings: ImagegenSettings) -> str | None:
    return settings.hf_token.get_secret_value() if settings.hf_token else None


def _offered(catalog: Catalog, store: WeightStore, wanted: tuple[str, ...]) -> tuple[frozenset[str], dict[str, str]]:
    """Return the models to offer, and for each of the others why not."""
    for model in wanted:
        if model != "*":
            catalog.get(model)
    hidden = {}
    for row in catalog.models.values():
        if wanted and not {"*", row.id} & set(wanted):
            hidden[row.id] = "the setting `models` leaves it out"
        elif not wanted and (missing := _missing(row, catalog, store)):
            hidden[row.id] = missing
    return frozenset(catalog.models) - frozenset(hidden), hidden


def _tell_of_missing_models(settings: ImagegenSettings, offered: frozenset[str]) -> None:
    """Log what keeps models from being found: a server without any may still be asked for its health."""
    if not settings.models_dir.is_dir():
        named = variable(type(settings), "models_dir")
        logger.warning("%s: there is no folder %s, so none of its models is offered", named, settings.models_dir)
    if not offered:
        named = " and ".join(variable(type(settings), each) for each in ("models_dir", "models"))
        logger.error("no model is offered, so every request will fail; look at %s", named)


def _missing(row: ModelRow, catalog: Catalog, store: WeightStore) -> str:
    """Say which of the weights of a model are not here, nothing if all are."""
    needed = catalog.needs(row).values()
    return "; ".join(dict.fromkeys(store.missing(each) for each in needed if store.local(each) is None))


def _residency(
    settings: ImagegenSettings,
    catalog: Catalog,
    store: WeightStore,
    plan: DevicePlan,
    found: Mapping[str, Profile],
    worker: DeviceWorker,
    metrics: ImagegenMetrics,
) -> Residency[Batcher]:
    """Return the residency of all weights; rows that share weights are one entry."""
    loader = EngineLoader(
        catalog,
        store,
        plan,
        found,
        worker,
        max_batch=settings.max_batch,
        allow_pickle=settings.allow_pickle,
        converted_dir=settings.converted_dir,
        step_observer=metrics.step_observer,
        on_out_of_memory=metrics.models.ran_out_of_memory,
    )
    specs = [_spec(catalog.get(model), each.bytes) for model, each in found.items()]
    return Residency(
        specs,
        loader,
        budget_bytes=plan.budget_bytes,
        host=ModuleHostTier(worker, plan, lambda batcher: batcher.engine.modules),
        host_budget_bytes=host_budget_bytes(plan, settings.host_fraction),
        idle_timeout_s=settings.idle_timeout_s,
        on_event=metrics.models.observe,
    )


def _spec(row: ModelRow, size: int) -> ModelSpec:
    return ModelSpec(row.id, bytes=size, load_s=1 + size / _DISK_BYTES_PER_S, exclusive=row.exclusive)


def _safety_check(
    settings: ImagegenSettings, plan: DevicePlan, worker: DeviceWorker, store: WeightStore
) -> NsfwCheck | None:
    if not settings.nsfw_model:
        logger.info("%s is empty: finished pictures are not judged", variable(type(settings), "nsfw_model"))
        return None
    with blaming(settings, "nsfw_model"):
        weights = named(settings.nsfw_model)
    return NsfwCheck(
        worker,
        PurePath(weights.source or weights.hub).name,
        plan,
        unsafe=settings.nsfw_classes,
        threshold=settings.nsfw_threshold,
        fetch=lambda: store.fetch_now("the safety classifier", weights),
    )


def _limits(settings: ImagegenSettings) -> Limits:
    return Limits(
        max_count=settings.max_count,
        max_side=settings.max_image_side,
        safety=SafetyPolicy(settings.safety),
        may_ignore_safety=settings.may_ignore_safety,
        judges=bool(settings.nsfw_model),
    )


def _warm(settings: ImagegenSettings, catalog: Catalog, offered: frozenset[str]) -> tuple[ModelRow, ...]:
    with blaming(settings, "warm"):
        rows = [catalog.default(offered) if each == "default" else catalog.get(each) for each in settings.warm]
    return tuple(row for row in rows if row is not None)
