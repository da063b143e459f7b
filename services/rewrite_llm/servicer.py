"""`RewriteService` on the wire."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import grpc

from atelier.rewrite.v1 import rewrite_service_pb2 as wire
from atelier.rewrite.v1 import rewrite_service_pb2_grpc
from servekit import tracing
from servekit.admission import Admission
from services.rewrite_llm import convert
from services.rewrite_llm.metrics import RewriteMetrics
from services.rewrite_llm.rewrite import RewritePrompt
from services.rewrite_llm.screen import ScreenPrompt
from services.rewrite_llm.select import SelectModel

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
T = TypeVar("T")


class RewriteServicer(rewrite_service_pb2_grpc.RewriteServiceServicer):
    """Converts in, judges, converts out."""

    def __init__(
        self,
        select: SelectModel,
        screen: ScreenPrompt,
        rewrite: RewritePrompt,
        admission: Admission,
        metrics: RewriteMetrics,
    ) -> None:
        self._select = select
        self._screen = screen
        self._rewrite = rewrite
        self._admission = admission
        self._metrics = metrics

    async def SelectModel(self, request: wire.SelectModelRequest, context: Context) -> wire.SelectModelResponse:
        """Score the candidates for a prompt."""
        asked = convert.to_choice(request)
        async with self._admitted("select"):
            return await self._selected(asked)

    async def ScreenPrompt(self, request: wire.ScreenPromptRequest, context: Context) -> wire.ScreenPromptResponse:
        """Say whether a prompt is allowed, must be rewritten, or is blocked."""
        prompt = convert.to_prompt(request)
        async with self._admitted("screen"):
            return await self._screened(prompt)

    async def JudgePrompt(self, request: wire.JudgePromptRequest, context: Context) -> wire.JudgePromptResponse:
        """Screen a prompt and score the candidates for it, at the same time."""
        asked = convert.to_judge(request)
        async with self._admitted("judge"):
            if not asked.candidates:
                return wire.JudgePromptResponse(screening=await self._screened(asked.prompt))
            async with asyncio.TaskGroup() as group:
                selecting = group.create_task(self._selected(asked))
                screening = await self._screened(asked.prompt)
        return wire.JudgePromptResponse(screening=screening, selection=selecting.result())

    async def RewritePrompt(self, request: wire.RewritePromptRequest, context: Context) -> wire.RewritePromptResponse:
        """Make a prompt safe."""
        asked = convert.to_reword(request)
        async with self._admitted("rewrite"):
            work = self._rewrite(asked.prompt, asked.categories, flagged_output=asked.flagged_output)
            return convert.from_rewriting(*await self._timed("rewrite", work))

    async def _selected(self, asked: convert.Choice) -> wire.SelectModelResponse:
        work = self._select(asked.prompt, asked.candidates, asked.default_id)
        return convert.from_selection(*await self._timed("select", work))

    async def _screened(self, prompt: str) -> wire.ScreenPromptResponse:
        return convert.from_screening(*await self._timed("screen", self._screen(prompt)))

    @asynccontextmanager
    async def _admitted(self, question: str) -> AsyncIterator[None]:
        """Wait for a place and hold it."""
        async with self._admission.admit(question) as ticket:
            self._metrics.queue_wait_seconds.labels(question).observe(ticket.queued_s)
            now = time.monotonic()
            tracing.record("queue", now - ticket.queued_s, now)
            yield

    async def _timed(self, stage: str, work: Awaitable[T]) -> tuple[T, float]:
        """Return what `work` does, and the seconds it took."""
        began = time.monotonic()
        try:
            result = await work
        finally:
            ended = time.monotonic()
            self._metrics.stage_seconds.labels(stage).observe(ended - began, tracing.exemplar())
            tracing.record(stage, began, ended)
        return result, ended - began
