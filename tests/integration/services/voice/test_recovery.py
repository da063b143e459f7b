"""Processes are killed and queues overflow; callers hear speech or a typed error."""

import asyncio
import re
import signal
from typing import TYPE_CHECKING

import grpc
import psutil
import pytest

from atelier.voice.v1.voice_service_pb2_grpc import VoiceServiceStub
from servekit.testing import local, serve
from services.voice.bootstrap import build
from services.voice.settings import VoiceSettings
from tests.integration.services.voice.client import Heard, heard, reason, request, until

if TYPE_CHECKING:
    from atelier.voice.v1.voice_service_pb2_grpc import VoiceServiceAsyncStub

TEXT = "This story is long, and something happens in its middle. " * 150


def espeak_processes() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [child for child in children if any("espeak.worker" in part for part in child.cmdline())]


def kill_espeak() -> None:
    """Kill every process and wait until it is gone: one that is still dying may be lent once more."""
    processes = espeak_processes()
    for process in processes:
        process.send_signal(signal.SIGKILL)
    psutil.wait_procs(processes)


async def test_a_stream_survives_the_death_of_its_processes(voice: "VoiceServiceAsyncStub") -> None:
    call = aiter(voice.Synthesize(request(TEXT, word_times=True)))
    events = [await anext(call) for _ in range(8)]
    kill_espeak()
    found = Heard(events + [event async for event in call])
    assert found.summary.characters == len(TEXT)
    spoken = [TEXT[each.text_offset : each.text_offset + each.text_length] for each in found.words]
    assert spoken == re.findall(r"\w+", TEXT)


async def test_an_utterance_that_breaks_off_is_taken_up_where_it_was(voice: "VoiceServiceAsyncStub") -> None:
    """The document is one utterance, larger than what is made ahead: the process is in its midst when it is killed."""
    document = f"<speak>{TEXT}</speak>"
    call = aiter(voice.Synthesize(request(document, {"format": "AUDIO_FORMAT_PCM_F32LE"}, ssml=True)))
    events = [await until(call, "audio"), await until(call, "chunk")]
    kill_espeak()
    found = Heard(events + [event async for event in call])
    whole = await heard(voice.Synthesize(request(document, ssml=True)))
    assert [(each.cause, each.remedy) for each in found.retries] == [("engine_failure", "next_seed")]
    assert found.summary.audio_seconds == pytest.approx(whole.summary.audio_seconds, rel=0.01)


async def test_the_next_request_is_served_after_all_processes_died(voice: "VoiceServiceAsyncStub") -> None:
    kill_espeak()
    assert (await heard(voice.Synthesize(request("Hello again. And again.")))).summary.audio_seconds > 0.5


async def test_a_full_queue_refuses_and_those_who_wait_are_told() -> None:
    """The first has room for all of its audio, so it goes on although its reader does not."""
    app = build(local(VoiceSettings, port=0, max_streams=1, queue_limit=1, stream_buffer_bytes=1024**3))
    async with serve(app) as channel:
        voice = VoiceServiceStub(channel)
        first = voice.Synthesize(request(TEXT * 20))
        await until(aiter(first), "chunk")
        second = aiter(voice.Synthesize(request("Second.")))
        assert (await until(second, "queued")).queued.position == 0
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await heard(voice.Synthesize(request("Third.")))
        assert (caught.value.code(), reason(caught.value)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        first.cancel()
        async with asyncio.timeout(10):
            assert (await until(second, "summary")).summary.audio_seconds > 0.2


async def test_a_deadline_that_passes_ends_the_call(voice: "VoiceServiceAsyncStub") -> None:
    call = voice.Synthesize(request(TEXT * 6), timeout=2)
    await until(aiter(call), "chunk")  # and no more: the rest waits for its reader
    assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_no_process_is_left_when_the_server_stops() -> None:
    before = set(espeak_processes())
    async with serve(build(local(VoiceSettings, port=0))):
        running = set(espeak_processes()) - before
        assert len(running) == 2
    assert not any(process.is_running() for process in running)
