"""Between wire messages and the domain. Pure."""

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from atelier.common.v1 import decision_pb2, types_pb2
from atelier.imagegen.v1 import image_service_pb2, imagegen_pb2
from atelier.rewrite.v1 import rewrite_service_pb2
from servekit.errors import InvalidRequest, Violation
from services.router.domain import Ask, Decision, Finding, Judgement, Rewriting

GenerateRequest = image_service_pb2.GenerateRequest
GenerateResponse = image_service_pb2.GenerateResponse

_LENGTH_DELIMITED = 2
"""The wire type of messages."""
_WITH_ATTEMPTS = frozenset({"retry", "blocked", "summary"})

MAX_PROMPT = 4000
"""Characters of a prompt, as the contract says."""
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""Unicode's control characters (category Cc) but line breaks and tabs."""
_MAX_ADAPTERS = 4
_RANGES = {
    "width": (16, 4096),
    "height": (16, 4096),
    "steps": (1, 200),
    "guidance": (0, 30),
    "seed": (0, 2**63 - 1),
    "count": (1, math.inf),
    "quality": (1, 100),
}
"""Ranges of the optional numbers. What a model or a server narrows further is for imagegen to say."""
_ENUMS = {
    "format": imagegen_pb2.ImageFormat,
    "priority": imagegen_pb2.Priority,
    "safety": imagegen_pb2.SafetyPolicy,
}


def ask(request: GenerateRequest, at: str = "") -> Ask:
    """Return what the router must know of `request`, which is found `at` this path of the message.

    Raises `InvalidRequest` with every violation of the contract.
    """
    violations = [*_text_violations(request), *_number_violations(request), *_part_violations(request)]
    if violations:
        raise InvalidRequest([Violation(at + each.field, each.description) for each in violations])
    return Ask(
        prompt=request.prompt,
        model=request.model,
        allowed=tuple(request.allowed_models),
        required=frozenset(_required(request)),
        wished=frozenset({"negative_prompt"}) if request.negative_prompt else frozenset(),
        may_rewrite=not request.no_rewrite,
        at=at,
    )


def _required(request: GenerateRequest) -> Iterator[str]:
    if request.HasField("source"):
        yield "inpainting" if request.source.mask else "image_to_image"
    else:
        yield "text_to_image"
    if request.adapters:
        yield "adapters"


def _text_violations(request: GenerateRequest) -> Iterator[Violation]:
    if not request.prompt.strip():
        yield Violation("prompt", f"must be 1 to {MAX_PROMPT} characters that are not all blank")
    for field in ("prompt", "negative_prompt"):
        text: str = getattr(request, field)
        if len(text) > MAX_PROMPT:
            yield Violation(field, f"must be at most {MAX_PROMPT} characters, has {len(text)}")
        if _CONTROL.search(text):
            yield Violation(field, "must have no control characters but line breaks and tabs")


def _number_violations(request: Any) -> Iterator[Violation]:
    for field, (low, high) in _RANGES.items():
        value = getattr(request, field)
        if request.HasField(field) and not low <= value <= high:
            allowed = f"{low} or more" if high == math.inf else f"{low} to {high}"
            yield Violation(field, f"must be {allowed}, not {value}")
    if request.preview_every < 0:
        yield Violation("preview_every", f"must be 0 or more, not {request.preview_every}")
    for field, enum in _ENUMS.items():
        if getattr(request, field) not in enum.values():
            yield Violation(field, f"must be one of {', '.join(enum.keys())}")


def _part_violations(request: GenerateRequest) -> Iterator[Violation]:
    if len(request.adapters) > _MAX_ADAPTERS:
        yield Violation("adapters", f"must be at most {_MAX_ADAPTERS}, not {len(request.adapters)}")
    for index, adapter in enumerate(request.adapters):
        if not adapter.id:
            yield Violation(f"adapters[{index}].id", "must name an adapter")
        if not -2 <= adapter.weight <= 2:
            yield Violation(f"adapters[{index}].weight", f"must be -2 to 2, not {adapter.weight}")
    if request.HasField("source") and not request.source.data:
        yield Violation("source.data", "must be a PNG, JPEG or WebP file")
    if request.source.HasField("strength") and not 0 < request.source.strength <= 1:
        yield Violation("source.strength", f"must be over 0 and at most 1, not {request.source.strength}")


def violations(error: grpc.aio.AioRpcError, at: str) -> list[Violation]:
    """Return what a server found wrong with the request that is found `at` this path of the caller's message."""
    bad = error_details_pb2.BadRequest()
    status = rpc_status.from_call(error)
    if status is None or not any(detail.Unpack(bad) for detail in status.details):
        return []
    return [Violation(at + each.field, each.description) for each in bad.field_violations]


def forwarded(request: GenerateRequest, decision: Decision, prompt: str) -> GenerateRequest:
    """Return the request as it goes to the server.

    A prompt that was not fully screened keeps whatever check the server has for finished pictures, though the caller
    asked for none.
    """
    onward = GenerateRequest()
    onward.CopyFrom(request)
    onward.model, onward.prompt = decision.choice.model, prompt
    onward.ClearField("allowed_models")
    if not decision.screening.complete:
        onward.safety = imagegen_pb2.SAFETY_POLICY_BLOCK
    return onward


def routed(decision: Decision) -> decision_pb2.Routed:
    """Return the decision as its caller sees it."""
    choice = decision.choice
    scores = [
        decision_pb2.RouteScore(
            model=score.model, score=score.final, suitability=score.suitability, readiness=score.readiness
        )
        for score in choice.scores
    ]
    return decision_pb2.Routed(
        model=choice.model,
        backend=decision.replica,
        scores=scores,
        margin=choice.margin,
        source=_source(choice.source),
        reason=choice.reason,
        explicit=choice.explicit,
        defaulted=choice.defaulted,
        degraded=decision.degraded,
        seconds=decision.seconds,
    )


def rewritten(rewriting: Rewriting) -> decision_pb2.Rewritten:
    """Return the change of the prompt as its caller sees it."""
    return decision_pb2.Rewritten(
        original=rewriting.original,
        prompt=rewriting.prompt,
        findings=_findings(rewriting.findings),
        reason=rewriting.reason,
        source=_source(rewriting.source),
    )


def screening(judgement: Judgement) -> rewrite_service_pb2.ScreenPromptResponse:
    """Return what was thought of the prompt."""
    judged = judgement.screening
    return rewrite_service_pb2.ScreenPromptResponse(
        verdict=decision_pb2.Verdict.ValueType(judged.verdict),
        findings=_findings(judged.findings),
        source=_source(judged.source),
        unsafe_score=judged.unsafe_score,
        seconds=judgement.seconds,
        degraded=judged.degraded,
    )


def _source(source: int) -> decision_pb2.Source.ValueType:
    return decision_pb2.Source.ValueType(source)


def _findings(findings: Iterable[Finding]) -> list[decision_pb2.Finding]:
    return [
        decision_pb2.Finding(
            category=each.category,
            rule_id=each.rule_id,
            verdict=decision_pb2.Verdict.ValueType(each.verdict),
            score=each.score,
        )
        for each in findings
    ]


def lost_attempt(model: str, number: int, seed: int) -> imagegen_pb2.Attempt:
    """Return the attempt that ended with the loss of its server."""
    return imagegen_pb2.Attempt(
        number=number,
        model=model,
        seed=seed,
        cause=imagegen_pb2.CAUSE_BACKEND_LOST,
        remedy=imagegen_pb2.REMEDY_OTHER_REPLICA,
    )


def kind(event: bytes) -> str:
    """Return which event an encoded response holds; empty for one that this router does not know."""
    return _KINDS.get(event[:1], "")


_KINDS = {
    bytes([field.number << 3 | _LENGTH_DELIMITED]): field.name
    for field in GenerateResponse.DESCRIPTOR.oneofs_by_name["event"].fields
}
"""Events by the first byte of the response, which has no other fields: number and wire type of the event's field."""


def renumbered(event: bytes, earlier: int) -> bytes:
    """Count `earlier` attempts in that the server which sent `event` knows nothing of."""
    if kind(event) not in _WITH_ATTEMPTS:
        return event
    response = GenerateResponse.FromString(event)
    for attempt in (response.retry.attempt, *response.blocked.attempts, *response.summary.attempts):
        if attempt.number:
            attempt.number += earlier
    return response.SerializeToString()


def completed(event: bytes, stages: dict[str, float], lost: Iterable[imagegen_pb2.Attempt], total_s: float) -> bytes:
    """Put the router's own `stages` (seconds by name) and the `lost` attempts before what the summary tells."""
    taken = [types_pb2.StageSeconds(stage=stage, seconds=seconds) for stage, seconds in stages.items() if seconds > 0]
    whole = image_service_pb2.Summary(stages=taken, attempts=lost)
    whole.MergeFrom(GenerateResponse.FromString(event).summary)
    whole.total_seconds = total_s
    return GenerateResponse(summary=whole).SerializeToString()
