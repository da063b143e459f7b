"""A voice is made of a clip by an engine that can, once everything asked is right."""

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from servekit.admission import Admission
from servekit.errors import EngineFailure, InvalidRequest, OutputRejected, Overloaded, Violation
from servekit.residency import Loaded, ModelSpec, OnProgress, Residency, UnknownModel
from servekit.worker import CancelToken
from services.voice.catalog import Catalog
from services.voice.clones import Clones
from services.voice.cloning import MOST_CLIPS, Cloning, VoiceWanted
from services.voice.domain import CannotClone, Clip, Latents, NotYours, TooManyVoices, UnknownVoice, VoiceTaken
from services.voice.ports import Capabilities, Engine
from services.voice.store import DiskVoices
from services.voice.turns import Calls
from tests.unit.services.voice.speaking import CAN, ScriptedEngine, babble, book, row, tone, voice

GOOD = VoiceWanted("anna", "Anna", "", ("EN",), consent=True)
NOW = datetime(2026, 11, 21, tzinfo=UTC)
MIMIC = Capabilities(sample_rate=22050, streaming=True, cloning=True, languages=("en", "pt-br"))


class Mimic(ScriptedEngine):
    """Makes the loudness of a clip its latents; what it clones is a number it can be told to return instead."""

    def __init__(self) -> None:
        super().__init__([tone(0.1)])
        self.clips: list[Clip] = []
        self.instead: float | None = None

    async def clone(self, clip: Clip) -> Latents:
        self.clips.append(clip)
        loudness = np.abs(clip.samples).mean() if self.instead is None else self.instead
        return {"loudness": np.array([loudness], np.float32)}


class Room:
    """Cloning with a model that can and one that cannot."""

    def __init__(self, folder: Path, threads: Executor, engine: Engine) -> None:
        rows = [row("robot"), row("mimic")]
        capabilities = {"robot": CAN, "mimic": MIMIC}
        specs = [ModelSpec(each.id, bytes=1) for each in rows]
        self.residency: Residency[Engine] = Residency(specs, _Shelf(engine), budget_bytes=9)
        self.clones = Clones(DiskVoices(folder, most=2), threads, capabilities, resident=4)
        self.cloning = Cloning(
            Catalog(rows),
            capabilities,
            book(voice(), voice("mimic"), rows=rows),
            self.clones,
            Calls(Admission(capacity=1, queue_limit=1), most=2),
            self.residency,
            read_clip=_read,
            threads=threads,
            now=lambda: NOW,
        )


class _Shelf:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def load(self, model_id: str, on_progress: OnProgress, token: CancelToken) -> Loaded[Engine]:
        return Loaded(self._engine, 1)

    async def unload(self, value: Engine) -> None:
        await value.close()


def _read(data: bytes) -> Clip:
    if data == b"bad":
        raise InvalidRequest([Violation("clip", "is silent")])
    return Clip(babble(3, 16000), 16000)


@pytest.fixture
def threads() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture
def mimic() -> Mimic:
    return Mimic()


@pytest.fixture
async def room(tmp_path: Path, threads: Executor, mimic: Mimic) -> AsyncIterator[Room]:
    room = Room(tmp_path, threads, mimic)
    await room.residency.start()
    yield room
    await room.residency.close()


async def test_a_voice_is_made_by_the_engine_that_can(room: Room, mimic: Mimic) -> None:
    made = await room.cloning.create("ann", GOOD, b"clip")
    assert (made.id, made.name, made.model, made.languages) == ("anna", "Anna", "mimic", ("en",))
    assert (made.cloned, made.created, made.shared) == (True, NOW, False)
    assert list(await room.clones.listed("ann")) == [made]
    latents = await room.clones.latents(made)
    assert latents is not None
    assert latents["loudness"][0] == pytest.approx(np.abs(mimic.clips[0].samples).mean())


async def test_what_is_not_said_is_filled_in(room: Room) -> None:
    made = await room.cloning.create("ann", VoiceWanted("anna", "", "mimic", (), consent=True, shared=True), b"clip")
    assert (made.name, made.languages, made.shared) == ("anna", MIMIC.languages, True)


async def test_a_clip_is_listened_to_once_for_each_owner(room: Room, mimic: Mimic) -> None:
    for owner, name in (("ann", "anna"), ("ann", "again"), ("bob", "anna")):
        await room.cloning.create(owner, VoiceWanted(name, "", "", (), consent=True), b"clip")
    assert len(mimic.clips) == 2


async def test_latents_that_cannot_be_read_are_made_anew(room: Room, mimic: Mimic, tmp_path: Path) -> None:
    made = await room.cloning.create("ann", GOOD, b"clip")
    await room.cloning.delete("ann", "anna")
    (tmp_path / "latents" / f"{made.native}.safetensors").write_bytes(b"broken")
    again = await room.cloning.create("ann", GOOD, b"clip")
    assert await room.clones.latents(again) is not None
    assert len(mimic.clips) == 2


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (VoiceWanted("", "", "", (), consent=True), "config.id"),
        (VoiceWanted("Anna!", "", "", (), consent=True), "config.id"),
        (VoiceWanted("a" * 65, "", "", (), consent=True), "config.id"),
        (VoiceWanted("anna", "", "", (), consent=False), "config.consent"),
        (VoiceWanted("anna", "n" * 200, "", (), consent=True), "config.display_name"),
        (VoiceWanted("anna", "", "", ("en", "fr"), consent=True), "config.languages[1]"),
    ],
)
async def test_a_bad_field_is_named(room: Room, mimic: Mimic, wanted: VoiceWanted, field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await room.cloning.create("ann", wanted, b"clip")
    assert [each.field for each in caught.value.violations] == [field]
    assert not mimic.clips


async def test_config_and_clip_are_judged_together(room: Room) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await room.cloning.create("ann", VoiceWanted("", "", "", (), consent=False), b"bad")
    assert [each.field for each in caught.value.violations] == ["config.id", "config.consent", "clip"]


async def test_a_missing_clip_is_named(room: Room) -> None:
    with pytest.raises(InvalidRequest, match="clip"):
        await room.cloning.create("ann", GOOD, b"")


async def test_an_unknown_model_is_not_found(room: Room) -> None:
    with pytest.raises(UnknownModel):
        await room.cloning.create("ann", VoiceWanted("anna", "", "harp", (), consent=True), b"clip")


async def test_a_model_that_cannot_clone_names_those_that_can(room: Room) -> None:
    with pytest.raises(CannotClone, match=r"robot cannot.*can: mimic"):
        await room.cloning.create("ann", VoiceWanted("anna", "", "robot", (), consent=True), b"clip")


async def test_a_taken_name_is_told_before_the_engine_works(room: Room, mimic: Mimic) -> None:
    await room.cloning.create("ann", GOOD, b"clip")
    with pytest.raises(VoiceTaken):
        await room.cloning.create("ann", GOOD, b"another clip")
    assert len(mimic.clips) == 1


async def test_too_many_are_refused_before_the_engine_works(room: Room, mimic: Mimic) -> None:
    for name in ("one", "two"):
        await room.cloning.create("ann", VoiceWanted(name, "", "", (), consent=True), name.encode())
    with pytest.raises(TooManyVoices):
        await room.cloning.create("ann", GOOD, b"clip")
    assert len(mimic.clips) == 2


async def test_latents_that_are_no_numbers_make_no_voice(room: Room, mimic: Mimic) -> None:
    mimic.instead = float("nan")
    with pytest.raises(OutputRejected):
        await room.cloning.create("ann", GOOD, b"clip")
    assert await room.clones.listed("ann") == []


async def test_an_engine_that_lies_about_its_abilities_is_found_out(tmp_path: Path, threads: Executor) -> None:
    room = Room(tmp_path, threads, ScriptedEngine([tone(0.1)]))
    await room.residency.start()
    with pytest.raises(EngineFailure, match="no method"):
        await room.cloning.create("ann", GOOD, b"clip")
    await room.residency.close()


async def test_a_deleted_voice_is_gone(room: Room) -> None:
    await room.cloning.create("ann", GOOD, b"clip")
    await room.cloning.delete("ann", "anna")
    assert await room.clones.listed("ann") == []


async def test_so_many_clips_may_be_on_their_way_and_no_more(room: Room) -> None:
    with ExitStack() as under_way:
        for _ in range(MOST_CLIPS):
            under_way.enter_context(room.cloning.receiving())
        with pytest.raises(Overloaded), room.cloning.receiving():
            pass
    with room.cloning.receiving():
        pass


async def test_built_in_voices_stay(room: Room) -> None:
    with pytest.raises(NotYours, match="built in"):
        await room.cloning.delete("ann", "robot/en")


async def test_a_voice_that_is_not_there_cannot_be_deleted(room: Room) -> None:
    await room.cloning.create("ann", GOOD, b"clip")
    with pytest.raises(UnknownVoice) as caught:
        await room.cloning.delete("ann", "ana")
    assert caught.value.nearest == ("anna",)
