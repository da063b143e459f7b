"""Between wire messages and the domain. Pure; every violation of a request is gathered before failing."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from atelier.common.v1 import decision_pb2
from atelier.rewrite.v1 import rewrite_service_pb2 as wire
from servekit.errors import InvalidRequest, Violation
from services.rewrite_llm.domain import (
    CATEGORY,
    MAX_CANDIDATES,
    MAX_PROMPT_CHARS,
    MAX_STRENGTHS_CHARS,
    Candidate,
    Finding,
    Rewriting,
    Screening,
    Selection,
    Source,
    Verdict,
)

MAX_ID_CHARS = 100
MAX_TAGS = 32
MAX_CATEGORIES = 16
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""Unicode's control characters (category Cc) but line breaks and tabs."""

_SOURCES = {
    Source.LLM: decision_pb2.SOURCE_LLM,
    Source.RULES: decision_pb2.SOURCE_RULES,
    Source.BOTH: decision_pb2.SOURCE_RULES_AND_LLM,
}
_VERDICTS = {
    Verdict.ALLOW: decision_pb2.VERDICT_ALLOW,
    Verdict.REWRITE: decision_pb2.VERDICT_REWRITE,
    Verdict.BLOCK: decision_pb2.VERDICT_BLOCK,
}


Candidates: TypeAlias = wire.SelectModelRequest | wire.JudgePromptRequest
"""Requests that name candidates, in fields of the same names."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A checked request to choose; there may be no candidates if it is one to judge."""

    prompt: str
    candidates: tuple[Candidate, ...]
    default_id: str


@dataclass(frozen=True, slots=True)
class Reword:
    """A checked rewriting request."""

    prompt: str
    categories: tuple[str, ...]
    flagged_output: bool


def to_choice(request: wire.SelectModelRequest) -> Choice:
    """Return the request in the domain; raises `InvalidRequest` with every violation."""
    return _choice(request, at_least=1)


def to_judge(request: wire.JudgePromptRequest) -> Choice:
    """Return the request in the domain; raises `InvalidRequest` with every violation."""
    return _choice(request, at_least=0)


def _choice(request: Candidates, *, at_least: int) -> Choice:
    _require([*_prompt(request.prompt), *_candidates(request, at_least), *_default(request)])
    candidates = tuple(Candidate(each.id, each.strengths, tuple(each.tags)) for each in request.candidates)
    return Choice(request.prompt, candidates, request.default_id)


def to_prompt(request: wire.ScreenPromptRequest) -> str:
    """Return the prompt to screen; raises `InvalidRequest` with every violation."""
    _require(_prompt(request.prompt))
    return request.prompt


def to_reword(request: wire.RewritePromptRequest) -> Reword:
    """Return the request in the domain; raises `InvalidRequest` with every violation."""
    _require([*_prompt(request.prompt), *_categories(request.categories)])
    return Reword(request.prompt, tuple(request.categories), request.flagged_output)


def from_selection(selection: Selection, seconds: float) -> wire.SelectModelResponse:
    """Return the choice as the wire has it."""
    return wire.SelectModelResponse(
        id=selection.id,
        scores=[wire.CandidateScore(id=share.id, score=share.score) for share in selection.shares],
        margin=selection.margin,
        defaulted=selection.defaulted,
        source=_SOURCES[selection.source],
        reason=selection.reason,
        seconds=seconds,
        llm=selection.llm,
        degraded=selection.degraded,
    )


def from_screening(screening: Screening, seconds: float) -> wire.ScreenPromptResponse:
    """Return the judgement as the wire has it."""
    return wire.ScreenPromptResponse(
        verdict=_VERDICTS[screening.verdict],
        findings=_findings(screening.findings),
        source=_SOURCES[screening.source],
        unsafe_score=screening.unsafe_score,
        seconds=seconds,
        degraded=screening.degraded,
    )


def from_rewriting(rewriting: Rewriting, seconds: float) -> wire.RewritePromptResponse:
    """Return the safe prompt as the wire has it."""
    return wire.RewritePromptResponse(
        verdict=_VERDICTS[rewriting.verdict],
        prompt=rewriting.prompt,
        changed=rewriting.changed,
        findings=_findings(rewriting.findings),
        source=_SOURCES[rewriting.source],
        reason=rewriting.reason,
        seconds=seconds,
        degraded=rewriting.degraded,
    )


def _findings(findings: Iterable[Finding]) -> list[decision_pb2.Finding]:
    return [
        decision_pb2.Finding(
            category=each.category, rule_id=each.rule_id, verdict=_VERDICTS[each.verdict], score=each.score
        )
        for each in findings
    ]


def _require(violations: Iterable[Violation]) -> None:
    found = list(violations)
    if found:
        raise InvalidRequest(found)


def _prompt(prompt: str) -> Iterator[Violation]:
    if not prompt.strip():
        yield Violation("prompt", f"must be 1 to {MAX_PROMPT_CHARS} characters that are not all blank")
    if len(prompt) > MAX_PROMPT_CHARS:
        yield Violation("prompt", f"must be at most {MAX_PROMPT_CHARS} characters, has {len(prompt)}")
    if _CONTROL.search(prompt):
        yield Violation("prompt", "must have no control characters but line breaks and tabs")


def _candidates(request: Candidates, at_least: int) -> Iterator[Violation]:
    if not at_least <= len(request.candidates) <= MAX_CANDIDATES:
        yield Violation("candidates", f"must be {at_least} to {MAX_CANDIDATES}, has {len(request.candidates)}")
    repeated = _repeated([each.id for each in request.candidates])
    for index, each in enumerate(request.candidates):
        at = f"candidates[{index}]"
        if not 1 <= len(each.id) <= MAX_ID_CHARS:
            yield Violation(f"{at}.id", f"must be 1 to {MAX_ID_CHARS} characters, has {len(each.id)}")
        elif each.id in repeated:
            yield Violation(f"{at}.id", "must be unique among the candidates")
        if not 1 <= len(each.strengths) <= MAX_STRENGTHS_CHARS:
            yield Violation(
                f"{at}.strengths", f"must be 1 to {MAX_STRENGTHS_CHARS} characters, has {len(each.strengths)}"
            )
        if len(each.tags) > MAX_TAGS or any(len(tag) > MAX_ID_CHARS for tag in each.tags):
            yield Violation(f"{at}.tags", f"must be at most {MAX_TAGS}, each of at most {MAX_ID_CHARS} characters")


def _repeated(ids: Sequence[str]) -> Collection[str]:
    if len(set(ids)) == len(ids):
        return ()
    return {each for each, uses in Counter(ids).items() if uses > 1}


def _default(request: Candidates) -> Iterator[Violation]:
    ids = [each.id for each in request.candidates]
    if request.default_id and request.default_id not in ids:
        yield Violation("default_id", "must be the id of a candidate, or empty for the first")


def _categories(categories: Iterable[str]) -> Iterator[Violation]:
    given = list(categories)
    if len(given) > MAX_CATEGORIES:
        yield Violation("categories", f"must be at most {MAX_CATEGORIES}, has {len(given)}")
    for index, category in enumerate(given[:MAX_CATEGORIES]):
        if not CATEGORY.fullmatch(category):
            yield Violation(f"categories[{index}]", "must be a name such as `violence`: lower-case letters, digits, _")
