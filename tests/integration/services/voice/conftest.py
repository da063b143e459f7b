"""A real server with real espeak processes."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from atelier.voice.v1.voice_service_pb2_grpc import VoiceServiceStub
from servekit.testing import local, serve
from services.voice.bootstrap import build
from services.voice.settings import VoiceSettings

if TYPE_CHECKING:
    from atelier.voice.v1.voice_service_pb2_grpc import VoiceServiceAsyncStub


@pytest.fixture
async def channel(tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    async with serve(build(local(VoiceSettings, port=0, voices_dir=tmp_path / "voices"))) as channel:
        yield channel


@pytest.fixture
def voice(channel: grpc.aio.Channel) -> "VoiceServiceAsyncStub":
    return VoiceServiceStub(channel)
