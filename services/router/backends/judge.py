"""Asks rewrite_llm, and does not believe everything it says."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import nullcontext
from functools import lru_cache
from typing import Any, TypeVar

import grpc
from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import ExcludeType, OpenedState

from atelier.common.v1 import decision_pb2
from atelier.rewrite.v1 import rewrite_service_pb2, rewrite_service_pb2_grpc
from servekit import tracing
from servekit.channels import RenewedChannel
from servekit.context import current
from services.router.domain import (
    Finding,
    Judgement,
    JudgeUnavailable,
    Model,
    Rewriting,
    Screening,
    Selection,
    Source,
    Verdict,
)

R = TypeVar("R")

_SERVICE = "/atelier.rewrite.v1.RewriteService"
_SUM_TOLERANCE = 0.01
_TIMEOUTS = 5
"""Timeouts in a row after which a question is not asked for a while."""

# What rewrite_llm takes of a catalog, as its contract says (protos/atelier/rewrite). imagegen's catalogs may hold more.
_MAX_CANDIDATES = 64
_MAX_STRENGTHS_CHARS = 1000
_MAX_TAGS = 32
_MAX_TAG_CHARS = 100


class RewriteJudge:
    """`ports.Judge` over the channel that `connect` makes, once it is open.

    gRPC itself fails at once when rewrite_llm is not there. When it is there and does not answer in time, a circuit
    breaker per question spares the next callers the waiting for `pause_s` seconds, then tries again.
    """

    REPEATABLE = ("atelier.rewrite.v1.RewriteService/JudgePrompt",)
    """Methods that gRPC may send again."""

    def __init__(self, connection: RenewedChannel, *, decision_s: float, rewrite_s: float, pause_s: float) -> None:
        self._connection = connection
        self._decision_s = decision_s
        self._rewrite_s = rewrite_s
        self._breakers = AsyncCircuitBreakerFactory(_TIMEOUTS, pause_s, exclude=_NOT_SLOW)
        self._stub_over = lru_cache(maxsize=1)(_stub_of)

    async def close(self) -> None:
        """Disconnect."""
        await self._connection.close()

    @property
    def _stub(self) -> "rewrite_service_pb2_grpc.RewriteServiceAsyncStub":
        return self._stub_over(self._connection.current())

    async def judge(self, prompt: str, candidates: Sequence[Model], default: str) -> Judgement:
        """Say whether the prompt may be used and, if there are candidates, how well each suits it.

        Of many candidates the first are asked about, the default among them. Screening depends on no catalog: if
        rewrite_llm refuses the candidates, it judges the prompt alone.
        """
        asked = _candidates(candidates, default)
        try:
            return await self._judge(prompt, asked, default)
        except _Refused:
            if not asked:
                raise
            return await self._judge(prompt, (), "")

    async def _judge(self, prompt: str, candidates: Sequence[rewrite_service_pb2.Candidate], default: str) -> Judgement:
        request = rewrite_service_pb2.JudgePromptRequest(prompt=prompt, candidates=candidates, default_id=default)
        response = await self._ask("JudgePrompt", self._stub.JudgePrompt, request, self._decision_s)
        return _sane(_judgement, response, {each.id for each in candidates})

    async def rewrite(self, prompt: str, categories: Collection[str]) -> Rewriting | None:
        """Return a safe form of the prompt, or None if there is none."""
        request = rewrite_service_pb2.RewritePromptRequest(prompt=prompt, categories=categories)
        response = await self._ask("RewritePrompt", self._stub.RewritePrompt, request, self._rewrite_s)
        return _sane(_rewriting, response, prompt)

    async def _ask(self, question: str, method: Callable[..., Awaitable[R]], request: Any, limit_s: float) -> R:
        call = current()
        remaining_s = call.remaining_s()
        timeout_s = limit_s if remaining_s is None else min(limit_s, max(remaining_s, 0.0))
        # A caller in a hurry proves nothing about rewrite_llm, so his timeouts do not count.
        breaker = nullcontext() if timeout_s < limit_s else await self._breakers.get_breaker(question)
        try:
            async with breaker:
                with tracing.onward(f"{_SERVICE}/{question}", call.outgoing_metadata()) as metadata:
                    return await method(request, timeout=timeout_s, metadata=metadata)
        except OpenedState:
            raise JudgeUnavailable("rewrite_llm was too slow again and again and is given a pause") from None
        except grpc.aio.AioRpcError as error:
            raise _failure(error.code())(_why(error.code(), timeout_s)) from error


class _Refused(JudgeUnavailable):
    """rewrite_llm finds something wrong with the question."""


def _failure(code: grpc.StatusCode) -> type[JudgeUnavailable]:
    return _Refused if code is grpc.StatusCode.INVALID_ARGUMENT else JudgeUnavailable


def _stub_of(channel: grpc.aio.Channel) -> "rewrite_service_pb2_grpc.RewriteServiceAsyncStub":
    return rewrite_service_pb2_grpc.RewriteServiceStub(channel)


def _is_not_slow(error: grpc.aio.AioRpcError) -> bool:
    return error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED


_NOT_SLOW: ExcludeType = [asyncio.CancelledError, (grpc.aio.AioRpcError, _is_not_slow)]
"""What does not count against rewrite_llm: all but its timeouts."""


def _why(code: grpc.StatusCode, timeout_s: float) -> str:
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"rewrite_llm did not answer within {timeout_s * 1000:.0f} ms"
    if code is grpc.StatusCode.UNAVAILABLE:
        return "rewrite_llm is not reachable"
    return f"rewrite_llm failed ({code.name})"


def _candidates(models: Sequence[Model], default: str) -> list[rewrite_service_pb2.Candidate]:
    """Return what rewrite_llm takes of the models: the default, and as many of the others as there is room for."""
    asked = sorted(models, key=lambda each: each.id != default)[:_MAX_CANDIDATES]
    return [
        rewrite_service_pb2.Candidate(
            id=each.id,
            strengths=(each.strengths or each.id)[:_MAX_STRENGTHS_CHARS],
            tags=[tag[:_MAX_TAG_CHARS] for tag in each.tags[:_MAX_TAGS]],
        )
        for each in asked
    ]


def _sane(convert: Callable[..., R], *parts: Any) -> R:
    try:
        return convert(*parts)
    except ValueError as error:
        raise JudgeUnavailable(f"rewrite_llm answered nonsense ({error})") from error


def _judgement(response: rewrite_service_pb2.JudgePromptResponse, candidates: Collection[str]) -> Judgement:
    screening = _screening(response.screening)
    return Judgement(screening, _selection(response.selection, candidates) if candidates else None)


def _selection(response: rewrite_service_pb2.SelectModelResponse, candidates: Collection[str]) -> Selection:
    shares = {each.id: each.score for each in response.scores}
    if shares.keys() != candidates or len(shares) != len(response.scores) or response.id not in shares:
        raise ValueError("other models than it was asked about")
    if not all(0 <= share <= 1 for share in shares.values()):
        raise ValueError("a score outside 0 to 1")
    if not math.isclose(sum(shares.values()), 1, abs_tol=_SUM_TOLERANCE):
        raise ValueError("scores that do not add up to 1")
    return Selection(
        choice=response.id,
        shares=shares,
        source=Source(response.source),
        defaulted=response.defaulted,
        reason=response.reason,
        degraded=response.degraded,
    )


def _screening(response: rewrite_service_pb2.ScreenPromptResponse) -> Screening:
    return Screening(
        verdict=Verdict(response.verdict),
        source=Source(response.source),
        findings=_findings(response.findings),
        unsafe_score=response.unsafe_score,
        degraded=response.degraded,
    )


def _rewriting(response: rewrite_service_pb2.RewritePromptResponse, original: str) -> Rewriting | None:
    if Verdict(response.verdict) is Verdict.BLOCK:
        return None
    if Verdict(response.verdict) is Verdict.REWRITE or not response.prompt.strip():
        raise ValueError("no prompt")
    if len(response.prompt) > 2 * len(original) + 100:
        raise ValueError("a prompt that is far too long")
    return Rewriting(
        original=original,
        prompt=response.prompt,
        source=Source(response.source),
        findings=_findings(response.findings),
        reason=response.reason,
    )


def _findings(findings: Sequence[decision_pb2.Finding]) -> tuple[Finding, ...]:
    return tuple(Finding(each.category, each.rule_id, Verdict(each.verdict), each.score) for each in findings)
