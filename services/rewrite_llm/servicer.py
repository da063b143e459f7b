"""`RewriteService` on the wire."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import grpc

from atelier.rewrite.v1 import rewrite_service_pb2 as wire
from atelier.rewrite.v1 import rewrite_service_pb2_grpc
from services.rewrite_llm import convert
from services.rewrite_llm.metrics import RewriteMetrics
from services.rewrite_llm.rewrite import RewritePrompt
from services.rewrite_llm.screen import ScreenPrompt
from services.rewrite_llm.select import SelectModel

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class RewriteServicer(rewrite_service_pb2_grpc.RewriteServiceServicer):
    """Converts in, judges, converts out."""

    def __init__(
        self, select: SelectModel, screen: ScreenPrompt, rewrite: RewritePrompt, metrics: RewriteMetrics
    ) -> None:
        self._select = select
        self._screen = screen
        self._rewrite = rewrite
        self._metrics = metrics

    async def SelectModel(  # noqa: N802
        self, request: wire.SelectModelRequest, context: Context
    ) -> wire.SelectModelResponse:
        """Score the candidates for a prompt."""
        asked = convert.to_choice(request)
        with self._timed("select") as began:
            selection = await self._select(asked.prompt, asked.candidates, asked.default_id)
        return convert.from_selection(selection, time.perf_counter() - began)

    async def ScreenPrompt(  # noqa: N802
        self, request: wire.ScreenPromptRequest, context: Context
    ) -> wire.ScreenPromptResponse:
        """Say whether a prompt is allowed, must be rewritten, or is blocked."""
        prompt = convert.to_prompt(request)
        with self._timed("screen") as began:
            screening = await self._screen(prompt)
        return convert.from_screening(screening, time.perf_counter() - began)

    async def RewritePrompt(  # noqa: N802
        self, request: wire.RewritePromptRequest, context: Context
    ) -> wire.RewritePromptResponse:
        """Make a prompt safe."""
        asked = convert.to_reword(request)
        with self._timed("rewrite") as began:
            rewriting = await self._rewrite(asked.prompt, asked.categories, flagged_output=asked.flagged_output)
        return convert.from_rewriting(rewriting, time.perf_counter() - began)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[float]:
        began = time.perf_counter()
        try:
            yield began
        finally:
            self._metrics.stage_seconds.labels(stage).observe(time.perf_counter() - began)
