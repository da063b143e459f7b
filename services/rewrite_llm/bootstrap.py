"""The composition root: settings -> device -> residency -> use cases -> servicers -> app."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version

import grpc

from atelier.models.v1 import models_pb2
from atelier.rewrite.v1 import rewrite_service_pb2, rewrite_service_pb2_grpc
from servekit.admission import Admission
from servekit.app import App
from servekit.clock import SystemClock
from servekit.device import CurrentDevice, DevicePlan, activate, exercise, plan_device
from servekit.device.host import usable_memory
from servekit.heartbeat import Heartbeat
from servekit.metrics import new_registry
from servekit.model_metrics import export_state
from servekit.model_service import WATCH_METHOD, ModelServicer
from servekit.residency import ModelSpec, Residency
from servekit.settings import blaming
from servekit.tracing import from_environment
from servekit.worker import DeviceWorker
from services.rewrite_llm import catalog as catalogs
from services.rewrite_llm.backends.chat_api import ChatApi
from services.rewrite_llm.backends.remote import RemoteModel
from services.rewrite_llm.backends.resident import ResidentModel
from services.rewrite_llm.catalog import RULES, Catalog, ModelRow
from services.rewrite_llm.consult import Consultant
from services.rewrite_llm.domain import Verdict
from services.rewrite_llm.engines.loader import EngineLoader
from services.rewrite_llm.engines.rules import RulesEngine
from services.rewrite_llm.metrics import RewriteMetrics
from services.rewrite_llm.ports import Engine
from services.rewrite_llm.rewrite import RewritePrompt
from services.rewrite_llm.safety import rows
from services.rewrite_llm.safety.rules import Policy, RuleSet
from services.rewrite_llm.screen import UNSAFE, ScreenPrompt
from services.rewrite_llm.select import SelectModel
from services.rewrite_llm.selection import keywords
from services.rewrite_llm.selection.injection import InjectionFilter
from services.rewrite_llm.servicer import RewriteServicer
from services.rewrite_llm.settings import RewriteSettings

logger = logging.getLogger(__name__)

SERVICE = "rewrite_llm"
VERSION = version("atelier-studio")
_DISK_BYTES_PER_S = 1e9
"""Pace of loading that is assumed before the first load."""
_LIBRARIES = ("torch", "transformers", "tokenizers")


def build(settings: RewriteSettings) -> App:
    """Return the app. Raises `WrongSettings` with every mistake of a file, and `DeviceUnavailable`."""
    catalog, row = _catalog(settings)
    plan = _plan(settings, row)
    registry = new_registry(SERVICE, VERSION)
    metrics = RewriteMetrics(registry)
    rule_set, rules = _rules(settings)
    worker = DeviceWorker("rewrite-device", on_start=partial(activate, plan) if row.has_weights else None)
    residency = _residency(settings, catalog, plan, worker, rules, metrics)
    model = _language_model(settings, row, residency, worker, metrics)
    admission = Admission(capacity=settings.max_running, queue_limit=settings.queue_limit)
    rewrite_servicer = _servicer(settings, row, Consultant(model, metrics), rules, rule_set, admission, metrics)
    device = CurrentDevice(plan)
    model_servicer = ModelServicer(
        SERVICE,
        VERSION,
        [_message(each, default=each.id == row.id) for each in catalog.models.values()],
        residency=residency,
        admission=admission,
        device=device,
        libraries=_libraries(),
    )
    metrics.expect(catalog.models)
    export_state("rewrite", registry, device, admission, residency, worker)
    life = _Life(worker, residency, model, row, plan)

    def register(server: grpc.aio.Server) -> Sequence[str]:
        rewrite_service_pb2_grpc.add_RewriteServiceServicer_to_server(rewrite_servicer, server)
        name = rewrite_service_pb2.DESCRIPTOR.services_by_name["RewriteService"].full_name
        return [name, *model_servicer.register(server)]

    return App(
        settings,
        register,
        registry=registry,
        start=life.start,
        stop=life.stop,
        lasting=[WATCH_METHOD],
        tracing=from_environment(SERVICE, VERSION),
        heartbeat=Heartbeat(
            lambda: worker.run(lambda _: exercise(plan) if row.has_weights else None),
            clock=SystemClock(),
            stalled_after_s=settings.stalled_after_s,
        ),
    )


@dataclass(frozen=True, slots=True)
class _Life:
    """What happens before the first call and after the last."""

    worker: DeviceWorker
    residency: Residency[Engine]
    model: ResidentModel | RemoteModel | None
    row: ModelRow
    plan: DevicePlan

    async def start(self) -> None:
        """Start the device thread and bring the language model to it."""
        logger.info("language model %s, from %s", self.row.id, self.row.place)
        logger.info("device %s", self.plan.describe())
        await self.worker.start()
        await self.residency.start()
        if not self.row.has_weights:
            await self.residency.load(self.row.id)
        if self.model is None:
            logger.info("rules choose, screen and rewrite; REWRITE_LLM_ID=sketch_qwen adds the bundled language model")
        else:
            await self.model.load()

    async def stop(self) -> None:
        """Free the device."""
        if self.model is not None:
            await self.model.close()
        await self.residency.close()
        await self.worker.close()


def _catalog(settings: RewriteSettings) -> tuple[Catalog, ModelRow]:
    """Return the catalog and the row of the language model."""
    with blaming(settings, "catalog_file"):
        listed = catalogs.load(settings.catalog_file)
    with blaming(settings, "llm"):
        return listed.including(settings.llm, remote=bool(settings.openai_base_url))


def _rules(settings: RewriteSettings) -> tuple[RuleSet, RulesEngine]:
    """Return the safety rules, and the engine that screens, chooses and rewrites by rules."""
    with blaming(settings, "safety_dir"):
        categories, shared = rows.load(settings.safety_dir), rows.shared(settings.safety_dir)
    with blaming(settings, "policy"):
        rule_set = RuleSet(categories, _policy(settings).checked(categories, UNSAFE))
    with blaming(settings, "selection_dir"):
        topics = keywords.Keywords(keywords.load(settings.selection_dir / "topics.toml"))
    return rule_set, RulesEngine(rule_set, topics, shared.additions)


def _plan(settings: RewriteSettings, row: ModelRow) -> DevicePlan:
    """Return the device plan; without weights none is needed, and finding one would import torch."""
    if row.has_weights:
        with blaming(settings, "device"):
            return plan_device(
                settings.device,
                dtype=settings.dtype,
                threads=settings.threads,
                memory_fraction=settings.memory_fraction,
            )
    memory = usable_memory()
    return DevicePlan(
        kind="cpu",
        device="cpu",
        name="CPU",
        dtype="float32",
        capability=None,
        arch_list=(),
        threads=1,
        total_bytes=memory,
        budget_bytes=int(memory * settings.memory_fraction),
        reason="nothing here needs an accelerator",
    )


def _policy(settings: RewriteSettings) -> Policy:
    return Policy({category: Verdict[name.upper()] for category, name in settings.policy.items()})


def _residency(
    settings: RewriteSettings,
    catalog: Catalog,
    plan: DevicePlan,
    worker: DeviceWorker,
    rules: Engine,
    metrics: RewriteMetrics,
) -> Residency[Engine]:
    token = settings.hf_token.get_secret_value() if settings.hf_token else None
    loader = EngineLoader(
        catalog,
        plan,
        worker,
        rules,
        models_dir=settings.models_dir,
        token=token,
        download=settings.download,
        int8=settings.int8,
    )
    specs = [ModelSpec(row.id, row.bytes, load_s=1 + row.bytes / _DISK_BYTES_PER_S) for row in catalog.models.values()]
    return Residency(
        specs,
        loader,
        budget_bytes=plan.budget_bytes,
        idle_timeout_s=settings.idle_timeout_s,
        on_event=metrics.models.observe,
    )


def _language_model(
    settings: RewriteSettings,
    row: ModelRow,
    residency: Residency[Engine],
    worker: DeviceWorker,
    metrics: RewriteMetrics,
) -> ResidentModel | RemoteModel | None:
    if row.engine == RULES:
        return None
    if not row.has_weights:
        key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else None
        api = ChatApi(settings.openai_base_url, settings.llm, api_key=key, extra=settings.openai_extra)
        return RemoteModel(row.id, api, metrics)
    return ResidentModel(
        row.id,
        residency,
        worker,
        metrics,
        SystemClock(),
        max_batch=settings.max_batch,
        reload_after_s=settings.reload_after_s,
    )


def _servicer(
    settings: RewriteSettings,
    row: ModelRow,
    consultant: Consultant,
    rules: Engine,
    rule_set: RuleSet,
    admission: Admission,
    metrics: RewriteMetrics,
) -> RewriteServicer:
    with blaming(settings, "selection_dir"):
        injection = InjectionFilter(settings.selection_dir / "injection.toml")
    select = SelectModel(
        consultant,
        rules,
        injection,
        metrics,
        min_margin=settings.min_margin,
        llm_limit_s=settings.select_limit_s,
    )
    screen = ScreenPrompt(
        consultant,
        rule_set,
        metrics,
        threshold=row.unsafe_threshold or settings.unsafe_threshold,
        unsafe_verdict=_policy(settings).verdicts.get(UNSAFE, Verdict.REWRITE),
        llm_limit_s=settings.screen_limit_s,
    )
    rewrite = RewritePrompt(screen, consultant, rules, rule_set, metrics, llm_limit_s=settings.rewrite_limit_s)
    return RewriteServicer(select, screen, rewrite, admission, metrics)


def _message(row: ModelRow, *, default: bool) -> models_pb2.Model:
    return models_pb2.Model(
        id=row.id,
        display_name=row.display_name,
        strengths=row.strengths,
        family=row.engine,
        source=row.place,
        license=row.license,
        capabilities=["select", "screen", "rewrite"],
        is_default=default,
    )


def _libraries() -> dict[str, str]:
    """Return the versions of what is installed, without importing it."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
