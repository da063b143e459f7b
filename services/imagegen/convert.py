"""From the wire to the domain. Pure; a request is refused with everything that is wrong with it at once."""

import math
import re
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from atelier.imagegen.v1 import image_service_pb2, imagegen_pb2
from servekit.errors import InvalidRequest, Violation
from services.imagegen import domain
from services.imagegen.domain import MAX_SEED
from services.imagegen.sources import read_mask, read_picture

MAX_TEXT = 4000
MIN_SIDE, MAX_SIDE = 16, 4096
MAX_STEPS = 200
MAX_GUIDANCE = 30.0
MAX_COUNT = 10_000
"""A bound against nonsense; the server's own limit is far lower and has its own message."""
MAX_ADAPTERS = 4
MAX_WEIGHT = 2.0
MAX_NAME = 128
DEFAULT_STRENGTH = 0.6

N = TypeVar("N", int, float)
V = TypeVar("V")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""Unicode's control characters but tab and line breaks."""
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
_TIERS = {
    imagegen_pb2.TIER_UNSPECIFIED: domain.Tier.STANDARD,
    imagegen_pb2.TIER_FAST: domain.Tier.FAST,
    imagegen_pb2.TIER_STANDARD: domain.Tier.STANDARD,
    imagegen_pb2.TIER_BEST: domain.Tier.BEST,
}


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
        tier=violations.choice("tier", message.tier, _TIERS, domain.Tier.STANDARD),
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
        control = sorted({f"U+{ord(each):04X}" for each in _CONTROL.findall(value)})
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
