"""What a user does, against the four real processes."""

import asyncio
import io
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from PIL import Image

from atelier.imagegen.v1 import image_service_pb2 as image_pb2
from atelier.router.v1 import router_service_pb2 as router_pb2
from atelier_client import AsyncClient, AtelierError
from deploy.local.studio import Studio
from tests.e2e.metrics import scrape

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOT = Path(__file__).parents[2]
PROMPT = "a serene landscape with mountains and a lake at sunset"


async def test_a_prompt_becomes_a_picture(studio: Studio) -> None:
    async with AsyncClient(studio.address) as client:
        result = await client.image(PROMPT, seed=7)
    picture = Image.open(io.BytesIO(result.pictures[0].data))
    header = result.pictures[0].header
    assert picture.size == (header.width, header.height)
    assert len(set(picture.convert("L").tobytes())) > 16, "the picture is one colour"
    assert result.routed is not None and result.routed.model == result.summary.model  # type: ignore[union-attr]


async def test_the_same_seed_makes_the_same_picture_by_any_way(studio: Studio) -> None:
    async with AsyncClient(studio.address) as routed, AsyncClient(studio.services["imagegen"].address) as direct:
        first = await routed.image(PROMPT, seed=11, exclusive_batch=True)
        assert first.summary is not None
        again = await direct.image(PROMPT, seed=11, exclusive_batch=True, model=first.summary.model)
    assert first.pictures[0].data == again.pictures[0].data


async def test_a_text_becomes_speech(studio: Studio) -> None:
    async with AsyncClient(studio.address) as client:
        result = await client.say("Good evening.", format="wav")
    assert result.data[:4] == b"RIFF"
    assert 0.3 < result.summary.audio_seconds < 5
    assert result.summary.audio_bytes == len(result.data)


async def test_tokens_become_speech_as_they_come(studio: Studio) -> None:
    async def tokens() -> AsyncIterator[str]:
        for token in ["The", "first", "sentence.", "And", "the", "second", "one."]:
            yield token + " "

    async with AsyncClient(studio.address) as client:
        events = [event.WhichOneof("event") async for event in client.speak(tokens(), format="pcm_s16le")]
    assert events.index("audio") < events.index("chunk") < events.index("summary") == len(events) - 1


async def test_an_unsafe_prompt_never_reaches_a_model(studio: Studio) -> None:
    async with AsyncClient(studio.address) as client:
        with pytest.raises(AtelierError) as caught:
            await client.image("a nude child")
    assert caught.value.reason == "PROMPT_BLOCKED"
    assert caught.value.metadata["category"]
    assert caught.value.request_id


async def test_every_service_reports_itself(studio: Studio) -> None:
    async with AsyncClient(studio.address) as client:
        backends = {backend.service: backend for backend in await client.backends()}
    assert set(backends) == {"imagegen", "voice", "rewrite_llm"}
    for backend in backends.values():
        assert backend.state == router_pb2.BACKEND_STATE_SERVING
        assert backend.device.reason
        assert backend.models


async def test_every_service_exports_the_names_dashboards_know(studio: Studio) -> None:
    for service in studio.services:
        page = await scrape(studio, service)
        for name in ("grpc_server_started_total", "grpc_server_handled_total", "grpc_server_handling_seconds"):
            assert f"# TYPE {name.removesuffix('_total')}" in page or f"# TYPE {name}" in page, (service, name)


async def test_no_log_has_the_prompt(studio: Studio) -> None:
    secret = "a lighthouse called Xylophanes"
    async with AsyncClient(studio.address) as client:
        await client.image(secret)
        await client.say(secret)
    for log in studio.log_dir.iterdir():
        assert "Xylophanes" not in log.read_text(), log.name


@pytest.mark.parametrize("stage", ["routed", "loading", "progress", "image"])
async def test_a_cancelled_request_leaves_the_studio_serving(studio: Studio, stage: str) -> None:
    async with AsyncClient(studio.address) as client:
        async for event in client.generate(image_pb2.GenerateRequest(prompt=PROMPT, count=4)):
            if event.WhichOneof("event") == stage or event.WhichOneof("event") == "summary":
                break
        result = await client.image(PROMPT)
    assert result.pictures


async def test_a_client_that_vanishes_leaves_the_studio_serving(studio: Studio) -> None:
    code = (
        "import sys, os; from atelier_client import Client; from atelier_client._requests import generate_request\n"
        f"for event in Client({studio.address!r}).generate(generate_request({PROMPT!r}, count=8)):\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    gone = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cwd=ROOT)
    assert await gone.wait() == -signal.SIGKILL
    async with AsyncClient(studio.address) as client:
        assert (await client.image(PROMPT)).pictures


async def test_a_missing_deadline_is_fine_and_a_short_one_is_an_error(studio: Studio) -> None:
    async with AsyncClient(studio.address, timeout=None) as patient:
        assert (await patient.image(PROMPT)).pictures
    async with AsyncClient(studio.address, timeout=0.001) as hasty:
        with pytest.raises(AtelierError) as caught:
            await hasty.image(PROMPT)
    assert caught.value.code == "DEADLINE_EXCEEDED"


async def test_many_clients_at_once(studio: Studio) -> None:
    async with AsyncClient(studio.address) as client:
        results = await asyncio.gather(*(client.image(PROMPT, seed=n, steps=2) for n in range(16)))
    assert all(result.pictures for result in results)


async def test_generic_tools_find_every_service(studio: Studio) -> None:
    buf = Path(sys.executable).parent / "buf"
    done = await asyncio.create_subprocess_exec(
        buf, "curl", "--protocol", "grpc", "--http2-prior-knowledge", "--list-methods", f"http://{studio.address}",
        stdout=subprocess.PIPE,
    )  # fmt: skip
    listed, _ = await done.communicate()
    for method in (
        "ImageService/Generate",
        "VoiceService/SynthesizeStream",
        "RouterService/Route",
    ):
        assert method in listed.decode()


async def test_rules_take_over_when_the_language_model_is_gone(tmp_path: Path) -> None:
    async with Studio(tmp_path) as studio, AsyncClient(studio.address) as client:
        studio.running["rewrite_llm"].kill()
        await studio.running["rewrite_llm"].wait()
        result = await client.image(PROMPT)
        assert result.pictures and result.routed
        assert result.routed.degraded
        await studio.start("rewrite_llm")


async def test_a_server_killed_at_work_is_an_error_and_then_recovers(tmp_path: Path) -> None:
    async with Studio(tmp_path) as studio, AsyncClient(studio.address) as client:
        request = image_pb2.GenerateRequest(prompt=PROMPT, count=8)
        with pytest.raises(AtelierError) as caught:
            async for event in client.generate(request):
                if event.WhichOneof("event") == "progress":
                    studio.running["imagegen"].kill()
        assert caught.value.code == "UNAVAILABLE"
        await studio.running["imagegen"].wait()
        await studio.start("imagegen")
        await serving(studio, "imagegen")
        assert (await client.image(PROMPT)).pictures


async def serving(studio: Studio, service: str) -> None:
    """Return when the router sees the service; its looks are what paces the loop."""
    async with AsyncClient(studio.address) as client:
        while True:
            found = [backend.state for backend in await client.backends() if backend.service == service]
            if found == [router_pb2.BACKEND_STATE_SERVING]:
                return


async def test_sigterm_lets_a_picture_finish(tmp_path: Path) -> None:
    async with Studio(tmp_path) as studio, AsyncClient(studio.address) as client:
        kinds = []
        async for event in client.generate(image_pb2.GenerateRequest(prompt=PROMPT, count=2)):
            kinds.append(event.WhichOneof("event"))
            if kinds[-1] == "progress" and kinds.count("progress") == 1:
                for process in studio.running.values():
                    process.send_signal(signal.SIGTERM)
        assert kinds.count("image") == 2 and kinds[-1] == "summary"
        codes = [await process.wait() for process in studio.running.values()]
        assert codes == [0, 0, 0, 0]


@pytest.mark.timeout(180)
async def test_an_interrupted_demo_stops_everything_it_started() -> None:
    demo = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "deploy.local.demo", "--prompt", PROMPT, "--say", "Hello.",
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert demo.stdout is not None
    await demo.stdout.readline()  # the studio is up
    services = psutil.Process(demo.pid).children(recursive=True)
    demo.send_signal(signal.SIGINT)
    assert await demo.wait() == 130
    _, alive = psutil.wait_procs(services, timeout=10)
    assert not alive
