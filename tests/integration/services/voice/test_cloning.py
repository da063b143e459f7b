"""A voice is made from a clip, spoken with, kept over a restart and deleted: real servers, XTTS with random weights."""

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest

from atelier.voice.v1 import voice_pb2
from atelier.voice.v1 import voice_service_pb2 as wire
from atelier.voice.v1.voice_service_pb2_grpc import VoiceServiceStub
from atelier_client import AsyncClient
from servekit.context import CALLER_KEY
from servekit.testing import local, serve
from services.voice.bootstrap import build
from services.voice.settings import VoiceSettings
from tests.integration.services.voice.client import Heard, heard, reason, request

CATALOG = """
[[model]]
id = "xtts"
source = "tiny"
default_voice = "xtts/ada-one"
fallback = ""
bytes = 10_000_000
"""
CONSENT = "I agree that my voice may be copied here, and that I may delete it again."

Open = Callable[..., AbstractAsyncContextManager[grpc.aio.Channel]]


@pytest.fixture
def studio(folder: Path, tmp_path: Path) -> Open:
    """Return what opens a server that finds what an earlier one has kept."""

    @asynccontextmanager
    async def opened(**settings: object) -> AsyncIterator[grpc.aio.Channel]:
        catalog = tmp_path / "mine.toml"
        catalog.write_text(CATALOG)
        own = {"port": 0, "catalog_file": catalog, "models_dir": folder, "voices_dir": tmp_path / "voices"}
        async with serve(build(local(VoiceSettings, **own, **settings))) as channel:
            yield channel

    return opened


async def clip(channel: grpc.aio.Channel) -> bytes:
    """Return a recording of espeak."""
    return (await heard(VoiceServiceStub(channel).Synthesize(request(CONSENT, voice="espeak/en-us")))).data


async def create(channel: grpc.aio.Channel, name: str, data: bytes, caller: str, **config: object) -> voice_pb2.Voice:
    async def parts() -> AsyncIterator[wire.CreateVoiceRequest]:
        wanted = wire.CreateVoiceConfig(id=name, consent=True, **config)  # type: ignore[arg-type]
        yield wire.CreateVoiceRequest(config=wanted)
        for at in range(0, len(data), 60_000):
            yield wire.CreateVoiceRequest(clip=data[at : at + 60_000])

    reply = await VoiceServiceStub(channel).CreateVoice(parts(), metadata=as_(caller))
    return reply.voice


def as_(caller: str) -> tuple[tuple[str, str], ...]:
    return ((CALLER_KEY, caller),)


async def spoken(channel: grpc.aio.Channel, voice: str, caller: str) -> Heard:
    """Return a sentence at a fixed seed, at most two seconds of noise from random weights."""
    wanted = request("Good evening.", {"format": "AUDIO_FORMAT_PCM_F32LE"}, voice=voice, seed=7)
    return await heard(VoiceServiceStub(channel).Synthesize(wanted, metadata=as_(caller)))


def samples(found: Heard) -> "np.typing.NDArray[np.float32]":
    return np.frombuffer(found.data, "<f4")


def alike(one: Heard, other: Heard) -> bool:
    return len(one.data) == len(other.data) and np.allclose(samples(one), samples(other), atol=1e-3)


def kept(tmp_path: Path, kind: str) -> int:
    return len(list((tmp_path / "voices").rglob(kind)))


async def test_a_voice_from_clip_to_deletion(studio: Open, tmp_path: Path) -> None:
    async with studio() as channel:
        made = await create(channel, "anna", await clip(channel), "ann", languages=["en", "de"])
        assert (made.id, made.model, made.cloned, list(made.languages)) == ("anna", "xtts", True, ["en", "de"])
        first, built_in = [await spoken(channel, name, "ann") for name in ("anna", "xtts/ada-one")]
        assert (first.header.voice, first.header.model) == ("anna", "xtts")
        assert np.abs(samples(first)).max() > 0.01
        assert not alike(first, built_in)  # same words, same seed, somebody else
    async with studio() as channel:  # another process would find the same files
        again = await spoken(channel, "anna", "ann")
        assert alike(first, again)
        await VoiceServiceStub(channel).DeleteVoice(wire.DeleteVoiceRequest(voice="anna"), metadata=as_("ann"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await spoken(channel, "anna", "ann")
        assert reason(caught.value) == "UNKNOWN_VOICE"
    assert (kept(tmp_path, "*.json"), kept(tmp_path, "*.safetensors")) == (0, 0)


async def test_another_caller_cannot_use_it_unless_it_is_shared(studio: Open) -> None:
    async with studio() as channel:
        data = await clip(channel)
        await create(channel, "own", data, "ann")
        await create(channel, "for-all", data, "ann", shared=True)
        assert len((await spoken(channel, "for-all", "bob")).data)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await spoken(channel, "own", "bob")
        assert reason(caught.value) == "UNKNOWN_VOICE"


async def test_an_engine_without_voices_of_its_own_can_be_loaded_at_the_start(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "tiny", tmp_path / "tiny", ignore=shutil.ignore_patterns("speakers_xtts.pth"))
    (tmp_path / "mine.toml").write_text(CATALOG)
    own = {"catalog_file": tmp_path / "mine.toml", "models_dir": tmp_path, "voices_dir": tmp_path / "voices"}
    async with serve(build(local(VoiceSettings, port=0, warm=("xtts",), **own))) as channel:
        await create(channel, "anna", await clip(channel), "ann")
        found = await spoken(channel, "anna", "ann")
    assert "loading" not in found.kinds
    assert len(found.data)


async def test_names_and_numbers_of_voices_are_limited(studio: Open, tmp_path: Path) -> None:
    async with studio(voices_per_caller=1) as channel:
        data = await clip(channel)
        await create(channel, "anna", data, "ann")
        for name, why in (("anna", "ALREADY_EXISTS"), ("bea", "FAILED_PRECONDITION")):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await create(channel, name, data, "ann")
            assert reason(caught.value) == why
        await create(channel, "anna", data, "bob")
    assert kept(tmp_path, "*.safetensors") == 2


async def test_the_client_makes_uses_and_deletes_a_voice(studio: Open, folder: Path, tmp_path: Path) -> None:
    async with studio() as channel:
        (tmp_path / "clip.wav").write_bytes(await clip(channel))
    own = {"port": 0, "catalog_file": tmp_path / "mine.toml", "models_dir": folder, "voices_dir": tmp_path / "voices"}
    async with build(local(VoiceSettings, **own)).serving() as address, AsyncClient(address) as client:
        made = await client.create_voice("anna", tmp_path / "clip.wav", consent=True, display_name="Anna")
        assert (made.display_name, made.shared) == ("Anna", False)
        assert made in await client.voices(model="xtts")
        assert (await client.say("Hello.", voice="anna", seed=1)).summary.audio_seconds > 0
        await client.delete_voice("anna")
        assert made not in await client.voices(model="xtts")
