"""How long the router takes to decide: with rewrite_llm as it ships, and by its own rules once rewrite_llm is gone.

Dry runs of different prompts go through the router one by one; `routed.seconds` is the router's own clock from the
request to the decision, with one question to rewrite_llm for the choice of the model and the screening of the prompt.
"""

import grpc
import uvloop

from atelier.common.v1 import decision_pb2
from atelier.imagegen.v1 import image_service_pb2, image_service_pb2_grpc
from bench._figures import Figure, percentile
from bench._parts import only

_PROMPTS = (
    "a portrait of an old sailor, soft light",
    "a poster for a jazz night, bold typography",
    "a minimal logo of a fox",
    "a wide mountain landscape at dawn",
    "a bowl of oranges on a blue table",
)
_CALLS = 200
_WARM_UP = 10
_AIM_MS = {decision_pb2.SOURCE_LLM: "< 15", decision_pb2.SOURCE_RULES: "< 1"}


def run() -> list[Figure]:
    """Start the studio, measure, stop it."""
    return uvloop.run(_run())


async def _run() -> list[Figure]:
    async with (
        only("rewrite_llm", "imagegen", "router") as studio,
        grpc.aio.insecure_channel(studio.address) as channel,
    ):
        stub = image_service_pb2_grpc.ImageServiceStub(channel)
        with_judge = await _figures(stub, "with rewrite_llm")
        judge = studio.running["rewrite_llm"]
        judge.terminate()
        await judge.wait()
        return [*with_judge, *await _figures(stub, "without rewrite_llm")]


async def _figures(stub: "image_service_pb2_grpc.ImageServiceAsyncStub", how: str) -> list[Figure]:
    decisions = [await _decide(stub, _PROMPTS[number % len(_PROMPTS)]) for number in range(_WARM_UP + _CALLS)]
    measured = decisions[_WARM_UP:]
    source = measured[-1].source
    what = f"a decision {how} ({decision_pb2.Source.Name(source).removeprefix('SOURCE_').lower()})"
    milliseconds = [1000 * decision.seconds for decision in measured]
    return [
        Figure(f"p50 of {what}", percentile(milliseconds, 0.5), "ms", _CALLS, aim=_AIM_MS.get(source, "")),
        Figure(f"p99 of {what}", percentile(milliseconds, 0.99), "ms", _CALLS),
    ]


async def _decide(stub: "image_service_pb2_grpc.ImageServiceAsyncStub", prompt: str) -> decision_pb2.Routed:
    request = image_service_pb2.GenerateRequest(prompt=prompt, dry_run=True)
    events = [event async for event in stub.Generate(request, timeout=30)]
    return events[0].routed
