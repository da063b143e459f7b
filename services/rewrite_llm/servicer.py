"""`RewriteService` on the wire."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

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
        async with self._admitted("select") as began:
            selection = await self._select(asked.prompt, asked.candidates, asked.default_id)
        return convert.from_selection(selection, time.perf_counter() - began)

    async def ScreenPrompt(self, request: wire.ScreenPromptRequest, context: Context) -> wire.ScreenPromptResponse:
        """Say whether a prompt is allowed, must be rewritten, or is blocked."""
        prompt = convert.to_prompt(request)
        async with self._admitted("screen") as began:
            screening = await self._screen(prompt)
        return convert.from_screening(screening, time.perf_counter() - began)

    async def RewritePrompt(self, request: wire.RewritePromptRequest, context: Context) -> wire.RewritePromptResponse:
        """Make a prompt safe."""
        asked = convert.to_reword(request)
        async with self._admitted("rewrite") as began:
            rewriting = await self._rewrite(asked.prompt, asked.categories, flagged_output=asked.flagged_output)
        return convert.from_rewriting(rewriting, time.perf_counter() - began)

    @asynccontextmanager
    async def _admitted(self, stage: str) -> AsyncIterator[float]:
        """Wait for a place and time what happens in it."""
        async with self._admission.admit(stage) as ticket:
            self._metrics.queue_wait_seconds.labels(stage).observe(ticket.queued_s)
            began = time.perf_counter()
            try:
                yield began
            finally:
                seconds, now = time.perf_counter() - began, time.monotonic()
                self._metrics.stage_seconds.labels(stage).observe(seconds, tracing.exemplar())
                tracing.record("queue", now - seconds - ticket.queued_s, now - seconds)
                tracing.record(stage, now - seconds, now)
