"""Voices on disk: whole or not at all, each owner's apart, nothing left behind."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from services.voice.domain import Latents, NotYours, TooManyVoices, UnknownVoice, Voice, VoiceTaken, VoiceUnusable
from services.voice.store import ORPHAN_S, DiskVoices

LATENTS: Latents = {"gpt": np.arange(6, dtype=np.float32).reshape(1, 2, 3), "speaker": np.ones(4, np.float32)}
ANNA = Voice("anna", "Ännä", "robot", ("en", "pt-br"), native="key1", created=datetime(2026, 11, 21, 9, tzinfo=UTC))
SHARED = replace(ANNA, shared=True)


@pytest.fixture
def store(tmp_path: Path) -> DiskVoices:
    return DiskVoices(tmp_path / "voices", most=3)


def files(tmp_path: Path) -> list[Path]:
    return [each for each in (tmp_path / "voices").rglob("*") if each.is_file()]


def test_a_voice_comes_back_as_it_was(store: DiskVoices, tmp_path: Path) -> None:
    store.add("ann", ANNA, LATENTS, consent=True)
    again = DiskVoices(tmp_path / "voices", most=3)
    assert again.find("ann", "anna") == ANNA
    found = again.latents("key1")
    assert found is not None
    assert {name: each.tolist() for name, each in found.items()} == {k: v.tolist() for k, v in LATENTS.items()}


def test_the_consent_and_the_owner_are_recorded(store: DiskVoices, tmp_path: Path) -> None:
    store.add("ann", ANNA, LATENTS, consent=True)
    (record,) = (tmp_path / "voices").rglob("anna.json")
    raw = json.loads(record.read_text())
    assert (raw["speaker_consents"], raw["owner"], raw["created"]) == (True, "ann", "2026-11-21T09:00:00+00:00")


def test_a_voice_is_its_owners_alone(store: DiskVoices) -> None:
    store.add("ann", ANNA, LATENTS, consent=True)
    assert store.find("bob", "anna") is None
    assert store.listed("bob") == ()
    assert store.find("", "anna") is None
    with pytest.raises(UnknownVoice):
        store.remove("bob", "anna")


def test_two_callers_may_have_a_voice_of_the_same_name(store: DiskVoices) -> None:
    store.add("ann", ANNA, LATENTS, consent=True)
    store.add("bob", replace(ANNA, name="Bob's"), LATENTS, consent=True)
    assert [voice.name for voice in store.listed("bob")] == ["Bob's"]


def test_a_shared_voice_is_everybodys_to_use_and_its_makers_to_delete(store: DiskVoices) -> None:
    store.add("ann", SHARED, LATENTS, consent=True)
    assert store.find("bob", "anna") == SHARED
    with pytest.raises(NotYours):
        store.remove("bob", "anna")
    store.remove("ann", "anna")
    assert store.find("bob", "anna") is None


def test_ones_own_voice_hides_a_shared_one(store: DiskVoices) -> None:
    store.add("ann", SHARED, LATENTS, consent=True)
    own = replace(ANNA, name="Bob's")
    store.add("bob", own, LATENTS, consent=True)
    assert (store.find("bob", "anna"), store.listed("bob")) == (own, (own,))
    store.remove("bob", "anna")
    assert store.find("bob", "anna") == SHARED


@pytest.mark.parametrize(("first", "second"), [(ANNA, ANNA), (ANNA, SHARED), (SHARED, ANNA), (SHARED, SHARED)])
def test_a_name_is_given_once(store: DiskVoices, first: Voice, second: Voice) -> None:
    store.add("ann", first, LATENTS, consent=True)
    with pytest.raises(VoiceTaken):
        store.add("ann", second, LATENTS, consent=True)


def test_the_name_of_a_shared_voice_is_taken_for_all_who_share(store: DiskVoices) -> None:
    store.add("ann", SHARED, LATENTS, consent=True)
    with pytest.raises(VoiceTaken):
        store.check("bob", "anna", shared=True)
    store.check("bob", "anna", shared=False)


def test_of_many_at_once_one_gets_the_name(tmp_path: Path) -> None:
    """Each has a store of its own, like servers that share a folder: no lock holds them apart."""

    def add(number: int) -> bool:
        try:
            DiskVoices(tmp_path / "voices", most=99).add(f"owner{number}", SHARED, LATENTS, consent=True)
        except VoiceTaken:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(add, range(24))) == 1


def test_an_owner_has_so_many_and_no_more(store: DiskVoices) -> None:
    for name, shared in (("a", False), ("b", True), ("c", False)):
        store.add("ann", replace(ANNA, id=name, shared=shared), LATENTS, consent=True)
    with pytest.raises(TooManyVoices, match="have 3 voices and may have 3"):
        store.add("ann", replace(ANNA, id="d"), LATENTS, consent=True)
    store.add("bob", ANNA, LATENTS, consent=True)
    store.remove("ann", "b")
    store.add("ann", replace(ANNA, id="d"), LATENTS, consent=True)


def test_nothing_is_left_of_a_deleted_voice(store: DiskVoices, tmp_path: Path) -> None:
    store.add("ann", ANNA, LATENTS, consent=True)
    store.remove("ann", "anna")
    assert files(tmp_path) == []


def test_latents_stay_while_another_voice_needs_them(store: DiskVoices) -> None:
    store.add("ann", ANNA, LATENTS, consent=True)
    store.add("ann", replace(ANNA, id="anna2"), LATENTS, consent=True)
    store.remove("ann", "anna")
    assert store.latents("key1") is not None


@pytest.mark.parametrize("name", ["../../secret", "", "a/b", "Anna", "anna.json", "\0"])
def test_what_is_no_name_is_not_looked_up(store: DiskVoices, tmp_path: Path, name: str) -> None:
    store.add("ann", ANNA, LATENTS, consent=True)
    (record,) = (tmp_path / "voices").rglob("anna.json")
    (tmp_path / "secret.json").write_text(record.read_text())
    assert store.find("ann", name) is None


def test_a_crash_before_the_record_leaves_no_voice(
    store: DiskVoices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "link", crash)
    with pytest.raises(KeyboardInterrupt):
        store.add("ann", ANNA, LATENTS, consent=True)
    assert store.find("ann", "anna") is None
    assert [each.suffix for each in files(tmp_path)] == [".safetensors"]


def test_what_a_crash_left_is_tidied_when_it_is_old(store: DiskVoices, tmp_path: Path) -> None:
    store.add("ann", ANNA, LATENTS, consent=True)
    latents = tmp_path / "voices" / "latents"
    old, fresh, kept = latents / "gone.safetensors", latents / "new.safetensors", latents / "key1.safetensors"
    half = tmp_path / "voices" / "owners" / "x" / "y.tmp"
    half.parent.mkdir()
    long_ago = time.time() - 2 * ORPHAN_S
    for path in (old, fresh, half):
        path.touch()
    for path in (old, half, kept):
        os.utime(path, (long_ago, long_ago))
    store.tidy()
    assert [path.exists() for path in (old, half, fresh, kept)] == [False, False, True, True]


def test_latents_outlast_a_record_that_cannot_be_read(store: DiskVoices, tmp_path: Path) -> None:
    """Somebody mends the record, and the voice is back."""
    store.add("ann", ANNA, LATENTS, consent=True)
    (record,) = (tmp_path / "voices").rglob("anna.json")
    whole, long_ago = record.read_text(), time.time() - 2 * ORPHAN_S
    record.write_text(whole[:-1])
    os.utime(tmp_path / "voices" / "latents" / "key1.safetensors", (long_ago, long_ago))
    store.tidy()
    record.write_text(whole)
    assert store.find("ann", "anna") == ANNA
    assert store.latents("key1") is not None


def test_before_the_first_voice_there_is_nothing(store: DiskVoices, tmp_path: Path) -> None:
    store.tidy()
    assert (store.listed("ann"), store.find("ann", "anna"), store.latents("key1")) == ((), None, None)
    assert not (tmp_path / "voices").exists()


def test_a_record_that_cannot_be_read_is_no_voice(
    store: DiskVoices, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.add("ann", ANNA, LATENTS, consent=True)
    (record,) = (tmp_path / "voices").rglob("anna.json")
    record.write_text('{"name": 1}')
    assert store.listed("ann") == ()
    assert "anna.json" in caplog.text


def test_latents_that_cannot_be_read_are_told(store: DiskVoices, tmp_path: Path) -> None:
    store.add("ann", ANNA, LATENTS, consent=True)
    (tmp_path / "voices" / "latents" / "key1.safetensors").write_bytes(b"broken")
    with pytest.raises(VoiceUnusable, match="make it again"):
        store.latents("key1")


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "voices").write_text("in the way")
    with pytest.raises(VoiceUnusable, match="cannot keep voices"):
        DiskVoices(tmp_path / "voices", most=3).add("ann", ANNA, LATENTS, consent=True)


def test_a_folder_that_cannot_be_looked_at_is_told(tmp_path: Path) -> None:
    """The name is too long for any file system, which is an error to whoever may read everything, too."""
    with pytest.raises(VoiceUnusable, match="cannot keep voices"):
        DiskVoices(tmp_path / ("x" * 300), most=3).check("ann", "anna", shared=False)


def test_nobody_else_on_the_machine_can_read_them(store: DiskVoices, tmp_path: Path) -> None:
    store.add("ann", ANNA, LATENTS, consent=True)
    assert {path.stat().st_mode & 0o077 for path in files(tmp_path)} == {0}
