"""Brings engines to the device: finds the weights, builds model and tokenizer, on the device thread."""

import logging
import time
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any

from servekit import garbage
from servekit.device import DevicePlan, out_of_memory_as, release_unused
from servekit.errors import ModelUnavailable
from servekit.residency import Loaded, OnProgress
from servekit.worker import CancelToken, DeviceWorker
from services.rewrite_llm.catalog import Catalog, ModelRow
from services.rewrite_llm.ports import Engine

logger = logging.getLogger(__name__)

_USUAL_BUDGET_S = 0.25
"""What the router gives by default."""
_RESERVE_S = 0.1
"""What is kept of the budget for answering without the model."""


class EngineLoader:
    """Loads rows of the catalog. `rules` is the engine of rows that need no weights."""

    def __init__(
        self,
        catalog: Catalog,
        plan: DevicePlan,
        worker: DeviceWorker,
        rules: Engine,
        *,
        models_dir: Path,
        token: str | None,
        download: bool,
        int8: bool = False,
    ) -> None:
        self._catalog = catalog
        self._plan = plan
        self._worker = worker
        self._rules = rules
        self._models_dir = models_dir
        self._token = token
        self._download = download
        self._int8 = int8

    async def load(self, model_id: str, on_progress: OnProgress, token: CancelToken) -> Loaded[Engine]:
        """Load a model and let it run once. Raises `ModelUnavailable` and `DeviceOutOfMemory`."""
        row = self._catalog.models[model_id]
        if not row.has_weights:  # a remote model needs nothing here either; nobody asks for what stands in for it
            return Loaded(self._rules, 0)
        return await self._worker.submit(partial(self._steps, row, on_progress), token)

    async def unload(self, value: Engine) -> None:
        """Give the memory back; the caller has let go of the engine."""
        del value
        await self._worker.run(lambda _: release_unused(self._plan))

    def _steps(
        self, row: ModelRow, on_progress: OnProgress, token: CancelToken
    ) -> Generator[None, None, Loaded[Engine]]:
        from services.rewrite_llm.engines.causal_lm import CausalLmEngine
        from services.rewrite_llm.engines.int8 import quantise
        from services.rewrite_llm.engines.quiet import be_quiet

        be_quiet()
        with out_of_memory_as(self._plan, row.bytes):
            tokenizer = self._read(row, _tokenizer)
            on_progress(0.1)
            yield
            model = self._read(row, partial(_model, dtype=self._dtype(row)))
            _check_attention(row, model)
            if self._int8:
                quantise(model.base_model)  # not the output, which may share its weights with the input
            on_progress(0.8)
            yield
            engine = CausalLmEngine(model.to(self._plan.device).eval(), tokenizer)
            _warm_up(row, engine)
        garbage.set_aside()
        on_progress(1.0)
        return Loaded(engine, engine.bytes)

    def _read(self, row: ModelRow, read: Callable[..., Any]) -> Any:
        """Read a part of the weights; say what to do if they cannot be had."""
        place = str(self._models_dir / row.source) if row.source else row.hub
        local = bool(row.source) or not self._download
        try:
            return read(place, revision=row.revision or "main", local_files_only=local, token=self._token)
        except (OSError, ValueError) as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ModelUnavailable(
                f"the weights of {row.id} cannot be read from {place}: {first}. Name a folder or a hub id with "
                "REWRITE_LLM_ID, or set it to `rules`"
            ) from error

    def _dtype(self, row: ModelRow) -> str:
        return self._plan.dtype if row.dtype == "auto" else row.dtype


def _warm_up(row: ModelRow, engine: Engine) -> None:
    """Let the engine keep its prefix, then time a question, so that an operator knows what budget the router needs."""
    engine.unsafe(["warm-up"])
    began = time.perf_counter()
    engine.unsafe(["a wide mountain landscape at dawn with a lake, soft light, oil painting"])
    seconds = time.perf_counter() - began
    logger.info(
        "model %s answers in %.2f s here, and a decision asks twice: it needs ATELIER_ROUTER_DECISION_BUDGET_S=%.2f",
        row.id,
        seconds,
        max(_USUAL_BUDGET_S, 3 * seconds + _RESERVE_S),
    )


def _tokenizer(place: str, **options: Any) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(place, **options)


def _model(place: str, *, dtype: str, **options: Any) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(place, dtype=dtype, **options)


def _check_attention(row: ModelRow, model: Any) -> None:
    """Refuse models whose state cannot be kept as plain keys and values (sliding windows, linear attention)."""
    kinds = set(getattr(model.config, "layer_types", None) or {"full_attention"})
    if kinds != {"full_attention"}:
        raise ModelUnavailable(f"{row.id} has layers of {', '.join(sorted(kinds))}; only full_attention is supported")
