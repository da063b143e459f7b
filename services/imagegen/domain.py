"""The values that image generation is about. Plain data: no gRPC, no torch."""

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from services.imagegen.step_cache import StepCache

MAX_SEED = 2**63 - 1
"""The largest seed."""
MOST_ROWS = 2
"""Rows of a forward pass that one picture takes at most: prompt and negative prompt."""
SECOND_ORDER = frozenset({"heun", "flow_heun"})
"""Schedulers that go there and back: they take every step but the last twice."""

Pixels = NDArray[np.uint8]
"""A picture, shape (height, width, 3), sRGB."""


DecoderName = Literal["full", "tiny"]
"""An autoencoder to decode with: the model's own, or a tiny one that costs next to nothing and loses fine detail."""


class Priority(IntEnum):
    """Order among requests that wait for the same device; higher goes first."""

    LOW = 0
    NORMAL = 1
    HIGH = 2


class ImageFormat(Enum):
    """File format of a picture; the value is its media type."""

    PNG = "image/png"
    JPEG = "image/jpeg"
    WEBP = "image/webp"


class SafetyPolicy(Enum):
    """What happens to a picture that the safety check flags."""

    BLOCK = "block"
    FLAG = "flag"
    IGNORE = "ignore"


class Tier(Enum):
    """Quality against time: which of a model's defaults are taken."""

    FAST = "fast"
    STANDARD = "standard"
    BEST = "best"


class Cause(Enum):
    """Why an attempt's picture was rejected."""

    NON_FINITE = "non_finite"
    BLACK = "black"
    UNSAFE = "unsafe"


class Remedy(Enum):
    """What changes in the next attempt."""

    DECODE_FP32 = "decode_fp32"
    NEXT_SEED = "next_seed"
    REWRITE = "rewrite"
    FALLBACK_MODEL = "fallback_model"


@dataclass(frozen=True, slots=True)
class AdapterChoice:
    """A LoRA adapter as a request names it."""

    id: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class SourceImage:
    """A picture to start from."""

    pixels: Pixels
    mask: NDArray[np.uint8] | None
    """Shape (height, width); 255 is painted anew, 0 is kept. None for no mask."""
    strength: float
    """How far to depart from the source, over 0 to 1."""


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """What a caller asks for, valid in itself but not yet fitted to a model. None means the model's default."""

    prompt: str
    negative_prompt: str = ""
    model: str = ""
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance: float | None = None
    seed: int | None = None
    count: int = 1
    scheduler: str = ""
    format: ImageFormat = ImageFormat.PNG
    quality: int = 90
    refine: bool | None = None
    adapters: tuple[AdapterChoice, ...] = ()
    source: SourceImage | None = None
    priority: Priority = Priority.NORMAL
    priority_ceiling: Priority = Priority.HIGH
    """The highest priority that the caller may have."""
    safety: SafetyPolicy | None = None
    tier: Tier = Tier.STANDARD
    dry_run: bool = False
    exclusive_batch: bool = False
    preview_every: int = 0


@dataclass(frozen=True, slots=True)
class Adjustment:
    """A requested value that was changed to something the model supports."""

    field: str
    requested: str
    used: str
    reason: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Something that was chosen for a model on this device, and why."""

    name: str
    value: str
    reason: str


@dataclass(frozen=True, slots=True)
class Job:
    """One picture to make, every value settled."""

    prompt: str
    negative_prompt: str
    width: int
    height: int
    steps: int
    guidance: float
    seed: int
    scheduler: str = ""
    adapters: tuple[AdapterChoice, ...] = ()
    source: SourceImage | None = None
    refine: bool = False
    """True to have the refiner take the last steps."""
    guided: float = 1.0
    """Share of the steps, the first ones, that guidance takes a second pass in."""
    cache: StepCache | None = None
    """Which steps are forecast from those before them; None computes them all."""
    decoder: DecoderName = "full"
    """What autoencoder makes the picture of the latents."""
    alone: bool = False
    """True to share no forward pass with other jobs."""
    preview_every: int = 0

    @property
    def taken(self) -> int:
        """Steps that are taken: one that starts from a picture leaves out the first ones. Engines may round up."""
        steps = self.steps if self.source is None else max(1, int(self.steps * self.source.strength))
        return 2 * steps - 1 if self.scheduler in SECOND_ORDER else steps


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the work on a picture: when, in seconds of a monotonic clock, and how long it had its turn."""

    name: str
    began: float
    ended: float
    seconds: float
    """Less than between `began` and `ended` where others had turns in between."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What an engine made of a job."""

    pixels: Pixels
    finite: bool
    """False if a latent or decoded value was NaN or infinite; `pixels` then mean nothing."""
    can_decode_fp32: bool
    """True if decoding the same latents in 32-bit floating point may give something better."""
    tiled: bool = False
    """True if it was decoded in overlapping tiles, for want of memory."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Outcome of the safety check of one picture."""

    flagged: bool
    score: float
    """Highest score of the unsafe classes, 0 to 1."""
    threshold: float
    detector: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to make a picture."""

    number: int
    model: str
    seed: int
    cause: Cause | None
    """Why it was rejected; None if it was accepted."""
    remedy: Remedy | None
    """What was tried next; None if nothing."""
