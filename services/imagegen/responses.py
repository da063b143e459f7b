"""From the domain to the wire. Pure."""

import hashlib
from collections.abc import Callable, Iterator, Mapping

from atelier.common.v1 import decision_pb2, types_pb2
from atelier.imagegen.v1 import image_service_pb2, imagegen_pb2
from atelier.models.v1 import models_pb2
from servekit.chunks import split
from services.imagegen import domain, events
from services.imagegen.catalog import ModelRow

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


def to_responses(event: events.Event, chunk_bytes: int) -> Iterator[image_service_pb2.GenerateResponse]:
    """Yield the messages of an event: one, or a picture's header and its chunks."""
    if isinstance(event, events.Picture):
        yield from _picture(event, chunk_bytes)
    else:
        yield _CONVERTERS[type(event)](event)


def _picture(event: events.Picture, chunk_bytes: int) -> Iterator[image_service_pb2.GenerateResponse]:
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


def _queued(event: events.Queued) -> image_service_pb2.GenerateResponse:
    queued = types_pb2.Queued(position=event.position, eta_seconds=event.eta_s)
    return image_service_pb2.GenerateResponse(queued=queued)


def _loading(event: events.Loading) -> image_service_pb2.GenerateResponse:
    loading = types_pb2.Loading(model=event.model, fraction=event.fraction)
    return image_service_pb2.GenerateResponse(loading=loading)


def _progress(event: events.Progress) -> image_service_pb2.GenerateResponse:
    progress = types_pb2.Progress(step=event.step, total=event.total, eta_seconds=event.eta_s)
    return image_service_pb2.GenerateResponse(progress=progress)


def _preview(event: events.Preview) -> image_service_pb2.GenerateResponse:
    preview = image_service_pb2.Preview(index=event.index, step=event.step, jpeg=event.jpeg)
    return image_service_pb2.GenerateResponse(preview=preview)


def _retry(event: events.Retry) -> image_service_pb2.GenerateResponse:
    retry = image_service_pb2.Retry(attempt=_attempt(event.attempt), index=event.index, message=event.message)
    return image_service_pb2.GenerateResponse(retry=retry)


def _rewritten(event: events.RewrittenPrompt) -> image_service_pb2.GenerateResponse:
    rewritten = decision_pb2.Rewritten(
        original=event.original,
        prompt=event.prompt,
        reason=event.reason,
        source=decision_pb2.SOURCE_LLM if event.by_llm else decision_pb2.SOURCE_RULES,
    )
    return image_service_pb2.GenerateResponse(rewritten=rewritten)


def _blocked(event: events.Blocked) -> image_service_pb2.GenerateResponse:
    blocked = image_service_pb2.Blocked(
        index=event.index, cause=_CAUSES[event.cause], attempts=map(_attempt, event.attempts)
    )
    return image_service_pb2.GenerateResponse(blocked=blocked)


def _plan(event: events.PlanReady) -> image_service_pb2.GenerateResponse:
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
        choices=[
            image_service_pb2.Choice(name=each.name, value=each.value, reason=each.reason) for each in event.choices
        ],
    )
    return image_service_pb2.GenerateResponse(plan=plan)


def _summary(event: events.Summary) -> image_service_pb2.GenerateResponse:
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
    events.Queued: _queued,
    events.Loading: _loading,
    events.Progress: _progress,
    events.Preview: _preview,
    events.Retry: _retry,
    events.RewrittenPrompt: _rewritten,
    events.Blocked: _blocked,
    events.PlanReady: _plan,
    events.Summary: _summary,
}
