"""Catalogs that rewrite_llm does not take as they are, and screening that does not depend on them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from atelier.imagegen.v1 import imagegen_pb2
from atelier.models.v1 import models_pb2
from servekit.errors import InvalidRequest, Violation
from servekit.testing import local
from services.rewrite_llm import bootstrap
from services.rewrite_llm.settings import RewriteSettings
from tests.integration.services.router.conftest import Client, Imagegen, Rewrite, Studio, model, router_at, serving

CATALOGS = {
    "long strengths": [model("general", strengths="landscapes " * 200), model("portraits")],
    "long tag": [model("general", tags=["t" * 101]), model("portraits")],
    "many tags": [model("general", tags=[f"t{number}" for number in range(33)]), model("portraits")],
    "many models": [*(model(f"m{number}") for number in range(70)), model("general", is_default=True)],
}


@asynccontextmanager
async def screened(catalog: Sequence[models_pb2.Model]) -> AsyncIterator[Client]:
    """Run a router before an image server with `catalog` and a real rewrite_llm."""
    rewrite = bootstrap.build(local(RewriteSettings, port=0))
    async with (
        serving(Imagegen(catalog)) as images_at,
        rewrite.serving() as rewrite_at,
        router_at(images_at, rewrite_at, decision_budget_s=10.0) as client,
    ):
        yield client


@pytest.mark.parametrize("catalog", CATALOGS)
async def test_prompts_are_judged_whatever_the_catalog(catalog: str) -> None:
    async with screened(CATALOGS[catalog]) as client:
        harmless = await client.events("a garden", dry_run=True)
        with pytest.raises(grpc.aio.AioRpcError, match="policy forbids this prompt"):
            await client.events("a nude woman, rape scene")

    assert harmless[0].routed.degraded == ""


async def test_the_default_is_a_candidate_however_many_models_there_are(studio: Studio) -> None:
    studio.rewrite.favourite = "general"
    async with (
        serving(Imagegen(CATALOGS["many models"])) as images_at,
        serving(studio.rewrite) as rewrite_at,
        router_at(images_at, rewrite_at, decision_budget_s=5.0) as client,
    ):
        events = await client.events("a garden")

    (judged,) = studio.rewrite.judged
    assert (len(judged.candidates), judged.default_id, events[0].routed.model) == (64, "general", "general")


class Picky(Rewrite):
    """A rewrite_llm that takes no candidates."""

    async def JudgePrompt(self, request: Any, context: Any) -> Any:
        if request.candidates:
            raise InvalidRequest([Violation("candidates", "must be none")])
        return await super().JudgePrompt(request, context)


async def test_a_prompt_is_screened_though_its_candidates_are_refused() -> None:
    imagegen, rewrite = Imagegen([model("general"), model("portraits", tags=["portrait"])]), Picky()
    async with (
        serving(imagegen) as images_at,
        serving(rewrite) as rewrite_at,
        router_at(images_at, rewrite_at, decision_budget_s=5.0) as client,
    ):
        events = await client.events("a portrait", safety=imagegen_pb2.SAFETY_POLICY_IGNORE)

    assert events[0].routed.model == "portraits"
    assert events[0].routed.degraded == "rewrite_llm does not take the candidates; the router's rules chose"
    assert [len(request.candidates) for request in rewrite.judged] == [0]
    assert imagegen.requests[0].safety == imagegen_pb2.SAFETY_POLICY_IGNORE
