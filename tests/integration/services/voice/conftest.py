"""A real server with real espeak processes."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from atelier.voice.v1.voice_service_pb2_grpc import VoiceServiceStub
from recipes.random_xtts import TINY, save
from servekit.testing import local, serve
from services.voice.bootstrap import build
from services.voice.settings import VoiceSettings

if TYPE_CHECKING:
    from atelier.voice.v1.voice_service_pb2_grpc import VoiceServiceAsyncStub


TINY_XTTS = """
[[model]]
id = "tiny"
display_name = "Tiny XTTS"
family = "xtts"
source = "tiny"
license = "none"
strengths = "Speaks noise, but really."
default_voice = "tiny/ada-one"
max_characters = 60
bytes = 100_000_000
load_s = 1
"""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny XTTS and, in `voices.toml`, its row."""
    folder = tmp_path_factory.mktemp("models")
    save(folder / "tiny", **TINY)
    (folder / "voices.toml").write_text(TINY_XTTS)
    return folder


@pytest.fixture
async def channel(tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    async with serve(build(local(VoiceSettings, port=0, voices_dir=tmp_path / "voices"))) as channel:
        yield channel


@pytest.fixture
def voice(channel: grpc.aio.Channel) -> "VoiceServiceAsyncStub":
    return VoiceServiceStub(channel)
