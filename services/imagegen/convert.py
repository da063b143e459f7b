"""Between the wire and the domain. Pure; a request is refused with everything that is wrong with it at once."""

import hashlib
import math
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, TypeVar

from atelier.common.v1 import decision_pb2, types_pb2
from atelier.imagegen.v1 import image_service_pb2, imagegen_pb2
from atelier.models.v1 import models_pb2
from servekit.chunks import split
from servekit.errors import InvalidRequest, Violation
from services.imagegen import domain
from services.imagegen.catalog import ModelRow
from services.imagegen.sources import read_mask, read_picture

MAX_TEXT = 4000
MIN_SIDE, MAX_SIDE = 16, 4096
MAX_STEPS = 200
MAX_GUIDANCE = 30.0
MAX_SEED = 2**63 - 1
MAX_COUNT = 10_000
"""A bound against nonsense; the server's own limit is far lower and has its own message."""
MAX_ADAPTERS = 4
MAX_WEIGHT = 2.0
MAX_NAME = 128
DEFAULT_STRENGTH = 0.6

N = TypeVar("N", int, float)
V = TypeVar("V")
_IntField = Literal["width", "height", "steps", "seed", "count", "quality"]

_FORMATS = {
    imagegen_pb2.IMAGE_FORMAT_UNSPECIFIED: domain.ImageFormat.PNG,
    imagegen_pb2.IMAGE_FORMAT_PNG: domain.ImageFormat.PNG,
    imagegen_pb2.IMAGE_FORMAT_JPEG: domain.ImageFormat.JPEG,
    imagegen_pb2.IMAGE_FORMAT_WEBP: domain.ImageFormat.WEBP,
}
_PRIORITIES = {
    imagegen_pb2.PRIORITY_UNSPECIFIED: domain.Priority.NORMAL,
    imagegen_pb2.PRIORITY_LOW: domain.Priority.LOW,
    imagegen_pb2.PRIORITY_NORMAL: domain.Priority.NORMAL,
    imagegen_pb2.PRIORITY_HIGH: domain.Priority.HIGH,
}
_POLICIES = {
    imagegen_pb2.SAFETY_POLICY_UNSPECIFIED: None,
    imagegen_pb2.SAFETY_POLICY_BLOCK: domain.SafetyPolicy.BLOCK,
    imagegen_pb2.SAFETY_POLICY_FLAG: domain.SafetyPolicy.FLAG,
    imagegen_pb2.SAFETY_POLICY_IGNORE: domain.SafetyPolicy.IGNORE,
}
_CAUSES = {
    None: imagegen_pb2.CAUSE_UNSPECIFIED,
    domain.Cause.NON_FINITE: imagegen_pb2.CAUSE_NON_FINITE,
    domain.Cause.BLACK: imagegen_pb2.CAUSE_BLACK,
    domain.Cause.UNSAFE: imagegen_pb2.CAUSE_UNSAFE,
}
_REMEDIES = {
    None: imagegen_pb2.REMEDY_UNSPECIFIED,
    domain.Remedy.DECODE_FP32: imagegen_pb2.REMEDY_DECODE_FP32,
    domain.Remedy.NEXT_SEED: imagegen_pb2.REMEDY_NEXT_SEED,
    domain.Remedy.REWRITE: imagegen_pb2.REMEDY_REWRITE,
    domain.Remedy.FALLBACK_MODEL: imagegen_pb2.REMEDY_FALLBACK_MODEL,
}


# ---- in ----


def to_request(message: image_service_pb2.GenerateRequest) -> domain.GenerationRequest:
    """Return the domain's request; raises `InvalidRequest` with every violation."""
    violations = _Violations()
    violations.text("prompt", message.prompt, required=True)
    violations.text("negative_prompt", message.negative_prompt)
    violations.name("model", message.model)
    violations.name("scheduler", message.scheduler)
    for index, model in enumerate(message.allowed_models):
        violations.name(f"allowed_models[{index}]", model)
    adapters = _adapters(message, violations)
    request = domain.GenerationRequest(
        prompt=message.prompt,
        negative_prompt=message.negative_prompt,
        model=message.model,
        width=_optional(message, "width", violations, MIN_SIDE, MAX_SIDE),
        height=_optional(message, "height", violations, MIN_SIDE, MAX_SIDE),
        steps=_optional(message, "steps", violations, 1, MAX_STEPS),
        guidance=_guidance(message, violations),
        seed=_optional(message, "seed", violations, 0, MAX_SEED),
        count=_optional(message, "count", violations, 1, MAX_COUNT) or 1,
        scheduler=message.scheduler,
        format=violations.choice("format", message.format, _FORMATS, domain.ImageFormat.PNG),
        quality=_optional(message, "quality", violations, 1, 100) or 90,
        refine=message.refine if message.HasField("refine") else None,
        adapters=adapters,
        source=_source(message.source, violations) if message.HasField("source") else None,
        priority=violations.choice("priority", message.priority, _PRIORITIES, domain.Priority.NORMAL),
        safety=violations.choice("safety", message.safety, _POLICIES, None),
        dry_run=message.dry_run,
        exclusive_batch=message.exclusive_batch,
        preview_every=violations.within("preview_every", message.preview_every, 0, MAX_STEPS),
    )
    if request.seed is not None and request.seed + request.count - 1 > MAX_SEED:
        violations.add("seed", f"seed + count - 1 must be at most {MAX_SEED}, because picture i uses seed + i")
    violations.raise_any()
    return request


class _Violations:
    """Collects what is wrong, field by field."""

    def __init__(self) -> None:
        self._found: list[Violation] = []

    def add(self, field: str, description: str) -> None:
        self._found.append(Violation(field, description))

    def raise_any(self) -> None:
        if self._found:
            raise InvalidRequest(self._found)

    def within(self, field: str, value: N, low: N, high: N) -> N:
        if not (math.isfinite(value) and low <= value <= high):
            self.add(field, f"must be {low:g} to {high:g}, not {value:g}" if high < 1e9 else f"must be {low} to {high}")
        return value

    def text(self, field: str, value: str, *, required: bool = False) -> None:
        if required and not value.strip():
            self.add(field, f"must be 1 to {MAX_TEXT} characters, at least one of them no blank")
        if len(value) > MAX_TEXT:
            self.add(field, f"must be at most {MAX_TEXT} characters, not {len(value)}")
        control = sorted({f"U+{ord(each):04X}" for each in value if _is_control(each)})
        if control:
            listed = ", ".join(control[:5])
            self.add(field, f"must have no control characters but line breaks and tabs, not {listed}")

    def name(self, field: str, value: str) -> None:
        if len(value) > MAX_NAME or not value.isprintable():
            self.add(field, f"must be at most {MAX_NAME} printable characters")

    def choice(self, field: str, number: int, known: Mapping[Any, V], otherwise: V) -> V:
        if number not in known:
            self.add(field, f"must be one of {', '.join(str(each) for each in known)}, not {number}")
        return known.get(number, otherwise)


def _is_control(character: str) -> bool:
    return unicodedata.category(character) == "Cc" and character not in "\n\r\t"


def _optional(
    message: image_service_pb2.GenerateRequest, field: _IntField, violations: _Violations, low: int, high: int
) -> int | None:
    if not message.HasField(field):
        return None
    return violations.within(field, int(getattr(message, field)), low, high)


def _guidance(message: image_service_pb2.GenerateRequest, violations: _Violations) -> float | None:
    if not message.HasField("guidance"):
        return None
    # A float32 on the wire: 4.4 arrives as 4.400000095. Seven digits are all it ever had.
    return violations.within("guidance", float(f"{message.guidance:.7g}"), 0.0, MAX_GUIDANCE)


def _adapters(message: image_service_pb2.GenerateRequest, violations: _Violations) -> tuple[domain.AdapterChoice, ...]:
    if len(message.adapters) > MAX_ADAPTERS:
        violations.add("adapters", f"must be at most {MAX_ADAPTERS}, not {len(message.adapters)}")
        return ()
    chosen: list[domain.AdapterChoice] = []
    for index, adapter in enumerate(message.adapters):
        path = f"adapters[{index}]"
        violations.name(f"{path}.id", adapter.id)
        if not adapter.id:
            violations.add(f"{path}.id", "must name an adapter")
        if adapter.id in {each.id for each in chosen}:
            violations.add(f"{path}.id", f"{adapter.id!r:.80} occurs twice")
        weight = float(f"{adapter.weight:.7g}") if adapter.HasField("weight") else 1.0
        violations.within(f"{path}.weight", weight, -MAX_WEIGHT, MAX_WEIGHT)
        chosen.append(domain.AdapterChoice(adapter.id, weight))
    return tuple(chosen)


def _source(message: imagegen_pb2.SourceImage, violations: _Violations) -> domain.SourceImage | None:
    strength = float(f"{message.strength:.7g}") if message.HasField("strength") else DEFAULT_STRENGTH
    if not 0 < strength <= 1:
        violations.add("source.strength", f"must be over 0 and at most 1, not {strength:g}")
    try:
        pixels = read_picture(message.data)
    except ValueError as error:
        violations.add("source.data", str(error))
        return None
    try:
        mask = read_mask(message.mask, pixels.shape[1], pixels.shape[0]) if message.mask else None
    except ValueError as error:
        violations.add("source.mask", str(error))
        return None
    return domain.SourceImage(pixels, mask, strength)


# ---- out ----


def to_responses(event: domain.Event, chunk_bytes: int) -> Iterator[image_service_pb2.GenerateResponse]:
    """Yield the messages of an event: one, or a picture's header and its chunks."""
    if isinstance(event, domain.Picture):
        yield from _picture(event, chunk_bytes)
    else:
        yield _CONVERTERS[type(event)](event)


def _picture(event: domain.Picture, chunk_bytes: int) -> Iterator[image_service_pb2.GenerateResponse]:
    header = image_service_pb2.ImageHeader(
        index=event.index,
        media_type=event.format.value,
        size_bytes=len(event.data),
        seed=event.seed,
        sha256=hashlib.sha256(event.data).hexdigest(),
        width=event.width,
        height=event.height,
        safety=None if event.verdict is None else _verdict(event.verdict),
    )
    yield image_service_pb2.GenerateResponse(image=header)
    for number, piece in enumerate(split(event.data, chunk_bytes)):
        chunk = types_pb2.Chunk(data=piece, offset=number * chunk_bytes)
        yield image_service_pb2.GenerateResponse(chunk=chunk)


def _verdict(verdict: domain.Verdict) -> imagegen_pb2.SafetyVerdict:
    return imagegen_pb2.SafetyVerdict(
        flagged=verdict.flagged, score=verdict.score, threshold=verdict.threshold, detector=verdict.detector
    )


def _attempt(attempt: domain.Attempt) -> imagegen_pb2.Attempt:
    return imagegen_pb2.Attempt(
        number=attempt.number,
        model=attempt.model,
        seed=attempt.seed,
        cause=_CAUSES[attempt.cause],
        remedy=_REMEDIES[attempt.remedy],
    )


def _adjustment(adjustment: domain.Adjustment) -> types_pb2.Adjustment:
    return types_pb2.Adjustment(
        field=adjustment.field, requested=adjustment.requested, used=adjustment.used, reason=adjustment.reason
    )


def _queued(event: domain.Queued) -> image_service_pb2.GenerateResponse:
    queued = types_pb2.Queued(position=event.position, eta_seconds=event.eta_s)
    return image_service_pb2.GenerateResponse(queued=queued)


def _loading(event: domain.Loading) -> image_service_pb2.GenerateResponse:
    loading = types_pb2.Loading(model=event.model, fraction=event.fraction)
    return image_service_pb2.GenerateResponse(loading=loading)


def _progress(event: domain.Progress) -> image_service_pb2.GenerateResponse:
    progress = types_pb2.Progress(step=event.step, total=event.total, eta_seconds=event.eta_s)
    return image_service_pb2.GenerateResponse(progress=progress)


def _preview(event: domain.Preview) -> image_service_pb2.GenerateResponse:
    preview = image_service_pb2.Preview(index=event.index, step=event.step, jpeg=event.jpeg)
    return image_service_pb2.GenerateResponse(preview=preview)


def _retry(event: domain.Retry) -> image_service_pb2.GenerateResponse:
    retry = image_service_pb2.Retry(attempt=_attempt(event.attempt), index=event.index, message=event.message)
    return image_service_pb2.GenerateResponse(retry=retry)


def _rewritten(event: domain.RewrittenPrompt) -> image_service_pb2.GenerateResponse:
    rewritten = decision_pb2.Rewritten(
        original=event.original,
        prompt=event.prompt,
        reason=event.reason,
        source=decision_pb2.SOURCE_LLM if event.by_llm else decision_pb2.SOURCE_RULES,
    )
    return image_service_pb2.GenerateResponse(rewritten=rewritten)


def _blocked(event: domain.Blocked) -> image_service_pb2.GenerateResponse:
    blocked = image_service_pb2.Blocked(
        index=event.index, cause=_CAUSES[event.cause], attempts=map(_attempt, event.attempts)
    )
    return image_service_pb2.GenerateResponse(blocked=blocked)


def _plan(event: domain.PlanReady) -> image_service_pb2.GenerateResponse:
    plan = image_service_pb2.Plan(
        model=event.model,
        width=event.width,
        height=event.height,
        steps=event.steps,
        guidance=event.guidance,
        scheduler=event.scheduler,
        count=event.count,
        eta_seconds=event.eta_s,
        resident=event.resident,
        adjustments=map(_adjustment, event.adjustments),
    )
    return image_service_pb2.GenerateResponse(plan=plan)


def _summary(event: domain.Summary) -> image_service_pb2.GenerateResponse:
    summary = image_service_pb2.Summary(
        model=event.model,
        seeds=event.seeds,
        adjustments=map(_adjustment, event.adjustments),
        attempts=map(_attempt, event.attempts),
        stages=[types_pb2.StageSeconds(stage=stage, seconds=seconds) for stage, seconds in event.stages],
        total_seconds=event.total_s,
        images=event.images,
        blocked=event.blocked,
        untrained=event.untrained,
        steps=event.steps,
    )
    return image_service_pb2.GenerateResponse(summary=summary)


def to_model(row: ModelRow) -> models_pb2.Model:
    """Return a catalog row as `ModelService` lists it, without residency."""
    width, height = row.size.default
    defaults = {
        "steps": f"{row.steps.default:g}",
        "guidance": f"{row.guidance.default:g}",
        "width": str(width),
        "height": str(height),
    }
    if row.schedulers:
        defaults["scheduler"] = row.schedulers[0]
    return models_pb2.Model(
        id=row.id,
        display_name=row.display_name,
        strengths=row.strengths,
        family=row.family,
        source=row.place,
        license=row.license,
        gated=row.gated,
        capabilities=row.capabilities,
        tags=row.tags,
        is_default=row.default,
        defaults=defaults,
        untrained=row.untrained,
    )


_CONVERTERS: Mapping[type, Callable[..., image_service_pb2.GenerateResponse]] = {
    domain.Queued: _queued,
    domain.Loading: _loading,
    domain.Progress: _progress,
    domain.Preview: _preview,
    domain.Retry: _retry,
    domain.RewrittenPrompt: _rewritten,
    domain.Blocked: _blocked,
    domain.PlanReady: _plan,
    domain.Summary: _summary,
}
