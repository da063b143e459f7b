"""The values this service thinks in, and what must hold of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum

MAX_PROMPT_CHARS = 4000
MAX_STRENGTHS_CHARS = 1000
MAX_CANDIDATES = 64
CATEGORY = re.compile(r"[a-z][a-z0-9_]{0,31}")
"""What a category may be called."""


class Verdict(IntEnum):
    """What policy says about a prompt; a larger value is stricter."""

    ALLOW = 1
    REWRITE = 2
    BLOCK = 3


class Source(StrEnum):
    """Who made a judgement."""

    LLM = "llm"
    RULES = "rules"
    BOTH = "rules_and_llm"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model to choose: its id, what it is good at in words, and tags for rules."""

    id: str
    strengths: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Share:
    """A candidate's share of a decision, 0 to 1."""

    id: str
    score: float


@dataclass(frozen=True, slots=True)
class Selection:
    """A choice among candidates; `shares` add up to 1 and come best first."""

    id: str
    shares: tuple[Share, ...]
    margin: float
    defaulted: bool
    source: Source
    reason: str
    llm: str = ""
    degraded: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found in a prompt: by a rule (score 1), or by the language model (`rule_id` is `llm`)."""

    category: str
    rule_id: str
    verdict: Verdict
    score: float = 1.0


@dataclass(frozen=True, slots=True)
class Screening:
    """The judgement of a prompt; `findings` come strictest first."""

    findings: tuple[Finding, ...]
    source: Source
    unsafe_score: float = 0.0
    degraded: str = ""

    @property
    def verdict(self) -> Verdict:
        """The strictest verdict of all findings; ALLOW if nothing was found."""
        return max((each.verdict for each in self.findings), default=Verdict.ALLOW)

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories found that policy does not allow, sorted."""
        return tuple(sorted({each.category for each in self.findings if each.verdict > Verdict.ALLOW}))


@dataclass(frozen=True, slots=True)
class Rewriting:
    """A safe prompt (ALLOW), or none (BLOCK, `prompt` empty)."""

    verdict: Verdict
    prompt: str
    changed: bool
    findings: tuple[Finding, ...]
    source: Source
    reason: str
    degraded: str = ""


def strictest_first(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Order findings by verdict, then by category and rule, without repetitions."""
    return tuple(sorted(set(findings), key=lambda each: (-each.verdict, each.category, each.rule_id)))
