"""The values that routing is about. Plain data: no gRPC, no wire messages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum

from servekit.errors import BackendUnavailable, NotFound, PolicyBlocked


class UnknownModel(NotFound):
    """No server behind the router has such a model."""

    reason = "UNKNOWN_MODEL"


class PromptBlocked(PolicyBlocked):
    """Policy forbids the prompt."""

    reason = "PROMPT_BLOCKED"


class ReplicaLost(BackendUnavailable):
    """A server did not answer, went away or is shutting down; another one may take over."""


class JudgeUnavailable(Exception):
    """rewrite_llm gave no usable answer; the message says why and never repeats the prompt."""


class Source(IntEnum):
    """Who made a judgement. The numbers are those of the wire."""

    LLM = 1
    RULES = 2
    RULES_AND_LLM = 3


class Verdict(IntEnum):
    """What policy says about a prompt; stricter is greater. The numbers are those of the wire."""

    ALLOW = 1
    REWRITE = 2
    BLOCK = 3


class Weights(Enum):
    """Where a model's weights are, seen from a request that wants them."""

    READY = "ready"
    LOADING = "loading"
    HOST = "host"
    UNLOADED = "unloaded"


@dataclass(frozen=True, slots=True)
class Ask:
    """What the router must know of an image request."""

    prompt: str
    model: str = ""
    """Model the caller named; empty to choose."""
    allowed: tuple[str, ...] = ()
    """Models to choose among; empty for all."""
    required: frozenset[str] = frozenset()
    """Capabilities without which a model cannot serve the request."""
    wished: frozenset[str] = frozenset()
    """Capabilities that are used if a model has them."""
    may_rewrite: bool = True
    at: str = ""
    """Path of the image request inside the caller's message, with its dot; for the fields that errors name."""


@dataclass(frozen=True, slots=True)
class Model:
    """A row of a catalog, as far as choosing goes."""

    id: str
    strengths: str = ""
    tags: tuple[str, ...] = ()
    capabilities: frozenset[str] = frozenset()
    is_default: bool = False


@dataclass(frozen=True, slots=True)
class Replica:
    """A server as it was when last asked."""

    name: str
    serving: bool = True
    answering: bool = True
    """Whether the last look and the last call were answered in time; one that is not comes last."""
    models: Mapping[str, Model] = field(default_factory=dict)
    """Its catalog by id, in catalog order."""
    weights: Mapping[str, Weights] = field(default_factory=dict)
    """Where the weights of each model are; a model whose last load failed is not listed."""
    queue_eta_s: float = 0.0
    """Estimated seconds until a new request would start there."""
    free_share: float = 1.0
    """Share of its memory budget that is free, 0 to 1."""
    in_flight: int = 0
    """Requests that this router has there now."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found in a prompt."""

    category: str
    rule_id: str
    verdict: Verdict
    score: float = 1.0


@dataclass(frozen=True, slots=True)
class Screening:
    """What is thought of a prompt."""

    verdict: Verdict
    source: Source
    findings: tuple[Finding, ...] = ()
    """Strictest first."""
    unsafe_score: float = 0.0
    degraded: str = ""
    complete: bool = True
    """False if rewrite_llm could not be asked, so that only the most necessary rules were applied."""


@dataclass(frozen=True, slots=True)
class Selection:
    """How well each candidate suits a prompt; the shares add up to 1."""

    choice: str
    shares: Mapping[str, float]
    source: Source
    defaulted: bool = False
    reason: str = ""
    degraded: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Everything that is thought of a prompt before it is placed."""

    screening: Screening
    selection: Selection | None = None
    """None if there was nothing to choose between, or it was not judged."""
    seconds: float = 0.0
    """Seconds it took, the way to rewrite_llm and back included."""


@dataclass(frozen=True, slots=True)
class Rewriting:
    """A prompt made safe."""

    original: str
    prompt: str
    source: Source
    findings: tuple[Finding, ...] = ()
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Score:
    """A model's score and what it is made of, all 0 to 1."""

    model: str
    final: float
    suitability: float
    readiness: float


@dataclass(frozen=True, slots=True)
class Choice:
    """The model that takes a request, and why."""

    model: str
    scores: tuple[Score, ...]
    """All candidates that were judged, best first."""
    source: Source
    reason: str
    explicit: bool = False
    defaulted: bool = False
    degraded: str = ""

    @property
    def margin(self) -> float:
        """Difference of the two best scores; 1 with one candidate."""
        return self.scores[0].final - self.scores[1].final if len(self.scores) > 1 else 1.0


@dataclass(frozen=True, slots=True)
class Decision:
    """Everything decided about a request before it is sent on."""

    choice: Choice
    replica: str
    judgement: Judgement
    seconds: float

    @property
    def screening(self) -> Screening:
        """What is thought of the prompt's safety."""
        return self.judgement.screening

    @property
    def degraded(self) -> str:
        """Why the decision is second best; empty if it is not."""
        return "; ".join(dict.fromkeys(filter(None, (self.choice.degraded, self.screening.degraded))))
