"""What happens during a generation, in the order in which it happens. Plain data, like `domain`."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.imagegen.domain import Adjustment, Attempt, Cause, Choice, ImageFormat, Verdict


@dataclass(frozen=True, slots=True)
class Queued:
    """The request waits behind `position` others, for about `eta_s` seconds (0 when unknown)."""

    position: int
    eta_s: float


@dataclass(frozen=True, slots=True)
class Loading:
    """The model's weights are on their way; `fraction` runs from 0 to 1."""

    model: str
    fraction: float


@dataclass(frozen=True, slots=True)
class Progress:
    """Denoising steps done and to do over all pictures of the request, and seconds left (0 when unknown)."""

    step: int
    total: int
    eta_s: float


@dataclass(frozen=True, slots=True)
class Preview:
    """A small JPEG of picture `index` after `step` steps."""

    index: int
    step: int
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class Retry:
    """An attempt at picture `index` failed and another begins."""

    attempt: Attempt
    index: int
    message: str


@dataclass(frozen=True, slots=True)
class RewrittenPrompt:
    """The prompt was changed after a picture was flagged."""

    original: str
    prompt: str
    reason: str
    by_llm: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """A finished picture file."""

    index: int
    format: ImageFormat
    data: bytes
    seed: int
    width: int
    height: int
    verdict: Verdict | None


@dataclass(frozen=True, slots=True)
class Blocked:
    """Picture `index` may not be shown."""

    index: int
    cause: Cause
    attempts: Sequence[Attempt]


@dataclass(frozen=True, slots=True)
class PlanReady:
    """What a generation would do."""

    model: str
    width: int
    height: int
    steps: int
    guidance: float
    scheduler: str
    count: int
    eta_s: float
    resident: bool
    adjustments: Sequence[Adjustment]
    choices: Sequence[Choice] = ()


@dataclass(frozen=True, slots=True)
class Summary:
    """The end of a generation."""

    model: str
    seeds: Sequence[int]
    adjustments: Sequence[Adjustment]
    attempts: Sequence[Attempt]
    stages: Sequence[tuple[str, float]]
    """Seconds by stage, in order."""
    total_s: float
    images: int
    blocked: int
    untrained: bool
    steps: int


Event = Queued | Loading | Progress | Preview | Retry | RewrittenPrompt | Picture | Blocked | PlanReady | Summary
