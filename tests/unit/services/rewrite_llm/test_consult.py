import asyncio
import time

import pytest
from prometheus_client import CollectorRegistry

from servekit.context import RequestContext, activate
from servekit.errors import Cancelled, ModelLoading
from services.rewrite_llm.consult import Answer, Consultant
from services.rewrite_llm.metrics import RewriteMetrics
from tests.unit.services.rewrite_llm.fakes import ScriptedModel


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


async def ask(registry: CollectorRegistry, model: ScriptedModel | None, limit_s: float = 0.01) -> Answer[float]:
    return await Consultant(model, RewriteMetrics(registry)).ask(lambda llm: llm.unsafe("a lake"), limit_s)


async def test_an_answer(registry: CollectorRegistry) -> None:
    assert await ask(registry, ScriptedModel(chance=0.5)) == Answer(0.5)


async def test_nobody_to_ask_is_no_degradation(registry: CollectorRegistry) -> None:
    assert await ask(registry, None) == Answer()


@pytest.mark.parametrize(
    ("failure", "cause", "told"),
    [
        (None, "timeout", "did not answer within 0.01 s"),
        (ModelLoading("model x is loading", retry_after_s=1), "model_loading", "model x is loading"),
        (Cancelled(), "cancelled", "was stopped"),
        (ValueError("secret"), "internal", "failed (ValueError)"),
    ],
)
async def test_a_failure_becomes_a_reason_and_a_count(
    registry: CollectorRegistry, failure: Exception | None, cause: str, told: str
) -> None:
    answer = await ask(registry, ScriptedModel(chance=failure))
    assert answer.value is None
    assert told in answer.degraded
    assert "secret" not in answer.degraded
    assert registry.get_sample_value("rewrite_llm_degraded_total", {"cause": cause}) == 1


async def test_the_callers_cancellation_is_his_own(registry: CollectorRegistry) -> None:
    task = asyncio.create_task(ask(registry, ScriptedModel(chance=None), limit_s=60))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_near_deadline_leaves_time_to_answer_without_it(registry: CollectorRegistry) -> None:
    activate(RequestContext("id", "", "/m", deadline=time.monotonic() + 0.05))
    answer = await ask(registry, ScriptedModel(chance=None), limit_s=60)
    assert "did not answer within 0.00 s" in answer.degraded
