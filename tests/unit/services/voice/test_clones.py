"""Of the latents in use so many stay in memory and no more; a deleted voice's do not."""

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from services.voice.clones import Clones
from services.voice.domain import Latents, Voice, VoiceUnusable
from services.voice.store import DiskVoices
from tests.unit.services.voice.speaking import voice

ANNA = Voice("anna", "Anna", "robot", ("en",), native="anna", created=datetime(2026, 1, 1, tzinfo=UTC))


class Counted(DiskVoices):
    """Remembers which latents were read."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, most=9)
        self.read: list[str] = []

    def latents(self, key: str) -> Latents | None:
        self.read.append(key)
        return super().latents(key)


@pytest.fixture
def threads() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture
def store(tmp_path: Path) -> Counted:
    made = Counted(tmp_path)
    for name in ("anna", "bea", "cleo"):
        made.add("ann", replace(ANNA, id=name, native=name), {"x": np.zeros(2, np.float32)}, consent=True)
    return made


def of(name: str) -> Voice:
    return replace(ANNA, id=name, native=name)


async def test_the_latest_used_stay_in_memory(store: Counted, threads: Executor) -> None:
    clones = Clones(store, threads, ["robot"], resident=2)
    for name in ("anna", "bea", "anna", "cleo", "anna", "bea"):
        assert await clones.latents(of(name)) is not None
    assert store.read == ["anna", "bea", "cleo", "bea"]


async def test_built_in_voices_need_none(store: Counted, threads: Executor) -> None:
    assert await Clones(store, threads, ["robot"], resident=2).latents(voice()) is None


async def test_a_deleted_voice_leaves_memory_too(store: Counted, threads: Executor) -> None:
    clones = Clones(store, threads, ["robot"], resident=2)
    await clones.latents(ANNA)
    await clones.remove("ann", "anna")
    with pytest.raises(VoiceUnusable, match="incomplete"):
        await clones.latents(ANNA)


async def test_voices_of_models_that_are_not_here_are_not_offered(store: Counted, threads: Executor) -> None:
    store.add("ann", replace(ANNA, id="dora", model="harp"), {"x": np.zeros(2, np.float32)}, consent=True)
    clones = Clones(store, threads, ["robot"], resident=2)
    assert "dora" not in {each.id for each in await clones.listed("ann")}
    assert [each.id for each in await clones.near("ann", "anna")] == ["anna"]
    assert len(await clones.near("ann", "dora")) == 3
