"""Everything that users do, good and bad, once over: for tests of what is measured, and for pictures of dashboards."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from pathlib import Path

import grpc

from atelier.imagegen.v1 import image_service_pb2
from atelier.models.v1 import model_service_pb2, model_service_pb2_grpc
from atelier_client import AsyncClient, AtelierError
from deploy.local.studio import Studio

ENVIRONMENT = {
    "ATELIER_IMAGEGEN_CATALOG_FILE": str(Path(__file__).with_name("rival.toml")),
    "REWRITE_LLM_ID": "sketch_qwen",
}
"""For a studio under this load: a model that pushes the others out, and a language model to be asked."""

_PROMPTS = (
    "a serene landscape with mountains and a lake at sunset",
    "portrait of a woman with red hair and round glasses",
    "a minimal logo of a blue star",
    "a poster for a jazz festival, bold shapes",
)
_UNSAFE = "a nude woman in a forest"
_FORBIDDEN = "a nude child"


async def once(studio: Studio, *, steps: int = 2, crowd: int = 1) -> None:
    """Do everything once, the first pictures by so many people at a time; a request that is meant to fail does."""
    async with AsyncClient(studio.address) as client:
        await asyncio.gather(
            *(client.image(prompt, steps=steps, seed=number) for number, prompt in enumerate(_PROMPTS * crowd)),
            *(client.say(text) for text in ("Good evening.", "Two sentences. Said one after the other.")),
            _speak(client),
        )
        await client.image(_PROMPTS[0], model="sketch", steps=steps, count=4)
        await client.image(_PROMPTS[0], model="rival", steps=steps)
        await client.route(_PROMPTS[1])
        await client.image(_UNSAFE, steps=steps)
        await asyncio.gather(
            _refused(client.image(_FORBIDDEN)),
            _refused(client.image(_PROMPTS[0], model="no such model")),
            _refused(client.image(_PROMPTS[0], steps=-1)),
            _refused(client.say("Good evening.", voice="nobody")),
            _given_up(client),
        )
    await _unload(studio, "rival")


async def _refused(request: Awaitable[object]) -> None:
    with suppress(AtelierError):
        await request
        raise AssertionError("a request that should have been refused was not")


async def _speak(client: AsyncClient) -> None:
    async def tokens() -> AsyncIterator[str]:
        for token in ["This", "text", "comes", "word", "by", "word.", "Speech", "begins", "before", "it", "ends."]:
            yield token + " "

    async for _ in client.speak(tokens(), format="pcm_s16le"):
        pass


async def _given_up(client: AsyncClient) -> None:
    """Leave when the first step is done."""
    async for event in client.generate(image_service_pb2.GenerateRequest(prompt=_PROMPTS[0], steps=14)):
        if event.WhichOneof("event") == "progress":
            return


async def _unload(studio: Studio, model: str) -> None:
    async with grpc.aio.insecure_channel(studio.services["imagegen"].address) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        with suppress(grpc.aio.AioRpcError):  # in use, or gone already
            await stub.UnloadModel(model_service_pb2.UnloadModelRequest(model=model), timeout=30)
