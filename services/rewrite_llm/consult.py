"""Ask the language model, but never let a request depend on it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from servekit.context import find
from servekit.errors import Cancelled, ServingError
from services.rewrite_llm.metrics import RewriteMetrics
from services.rewrite_llm.ports import LanguageModel

T = TypeVar("T")

logger = logging.getLogger(__name__)

_RESERVE_S = 0.1
"""Seconds of the caller's deadline that are kept for answering without the language model."""


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What the language model said, or why it said nothing or less than it should; empty if none is configured."""

    value: T | None = None
    degraded: str = ""


class Consultant:
    """The language model behind a time limit. Its failures become a reason instead of an error."""

    def __init__(self, model: LanguageModel | None, metrics: RewriteMetrics) -> None:
        self._model = model
        self._metrics = metrics

    @property
    def model_id(self) -> str:
        """Id of the language model; empty if none is configured."""
        return self._model.id if self._model else ""

    async def ask(self, question: Callable[[LanguageModel], Awaitable[T]], limit_s: float) -> Answer[T]:
        """Put a question with at most `limit_s` seconds to answer it, fewer if the caller's deadline is near."""
        if self._model is None:
            return Answer()
        patience_s = _patience(limit_s)
        try:
            async with asyncio.timeout(patience_s):
                return Answer(await question(self._model), self._model.caveat)
        except TimeoutError:
            return self._degraded("timeout", f"the language model did not answer within {patience_s:.2f} s")
        except Cancelled:
            return self._degraded("CANCELLED", "the language model was stopped")
        except ServingError as error:
            return self._degraded(error.reason, f"the language model cannot answer: {error.message}")
        except Exception as error:
            logger.exception("the language model failed")
            return self._degraded("INTERNAL", f"the language model failed ({type(error).__name__})")

    def _degraded(self, cause: str, why: str) -> Answer[T]:
        self._metrics.degraded.labels(cause.lower()).inc()
        return Answer(degraded=why)


def _patience(limit_s: float) -> float:
    call = find()
    remaining_s = None if call is None else call.remaining_s()
    return limit_s if remaining_s is None else max(0.0, min(limit_s, remaining_s - _RESERVE_S))
