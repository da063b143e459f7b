"""Voices made from clips, kept as files.

    <folder>/shared/<voice>.json            what everybody may use
    <folder>/owners/<owner>/<voice>.json    what one caller may use; <owner> is a digest of who he is
    <folder>/latents/<key>.safetensors      what the engine made of a clip

A record is written last and forgotten first, and each file appears at once and as a whole: after a crash a voice is
there or it is not. Latents without a record are removed by `tidy`, but not while there is a record that cannot be read.
The files are the truth, nothing of them is kept in memory, so that several servers may share a folder.
"""

import hashlib
import json
import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load, save

from services.voice.domain import (
    CLONE_ID,
    Latents,
    NotYours,
    TooManyVoices,
    UnknownVoice,
    Voice,
    VoiceTaken,
    VoiceUnusable,
)

logger = logging.getLogger(__name__)

ORPHAN_S = 3600.0
"""Age from which a file that nothing refers to is left over from a crash, and not part of a voice being made."""


@dataclass(frozen=True, slots=True)
class _Record:
    """A file about a voice."""

    path: Path
    owner: str
    voice: Voice


class DiskVoices:
    """The `VoiceStore`. Safe for threads; `most` is how many voices an owner may have. Creates `folder` when needed."""

    def __init__(self, folder: Path, *, most: int) -> None:
        self._shared = folder / "shared"
        self._owners = folder / "owners"
        self._latents = folder / "latents"
        self._most = most
        self._writing = threading.Lock()

    def find(self, owner: str, voice_id: str) -> Voice | None:
        """Return the owner's voice of this name, else everybody's."""
        record = self._find(owner, voice_id)
        return record.voice if record else None

    def listed(self, owner: str) -> tuple[Voice, ...]:
        """Return the owner's voices and everybody's, without those that `find` would not return."""
        with _file_errors():
            records = [*_records(self._shared), *_records(self._own(owner))]
        return tuple({each.voice.id: each.voice for each in records}.values())

    def check(self, owner: str, voice_id: str, *, shared: bool) -> None:
        """Raise what `add` would raise for a voice of this name."""
        with _file_errors():
            mine = self._mine(owner)
        taken = {each.voice.id for each in mine}
        if voice_id in taken or (shared and _read(self._shared / f"{voice_id}.json")):
            raise VoiceTaken("voice", voice_id)
        if len(mine) >= self._most:
            raise TooManyVoices(f"you have {len(mine)} voices and may have {self._most}; delete one first")

    def add(self, owner: str, voice: Voice, latents: Latents, *, consent: bool) -> None:
        """Keep a voice. Raises `VoiceTaken`, `TooManyVoices`, `VoiceUnusable`."""
        folder = self._shared if voice.shared else self._own(owner)
        with self._writing, _file_errors():
            self.check(owner, voice.id, shared=voice.shared)
            with _fresh(self._latents, save(dict(latents))) as fresh:
                fresh.replace(self._latents / _latents_name(voice.native))
            with _fresh(folder, _to_json(owner, voice, consent)) as fresh:
                try:
                    os.link(fresh, folder / f"{voice.id}.json")
                except FileExistsError:
                    raise VoiceTaken("voice", voice.id) from None

    def remove(self, owner: str, voice_id: str) -> None:
        """Forget a voice and its latents. Raises `UnknownVoice`, `NotYours`."""
        with self._writing, _file_errors():
            record = self._find(owner, voice_id)
            if record is None:
                raise UnknownVoice("voice", voice_id)
            if record.owner != owner:
                raise NotYours(f"{voice_id!r} is shared by somebody else, who alone can delete it")
            record.path.unlink(missing_ok=True)
            _sync(record.path.parent)
            if record.voice.native not in {each.voice.native for each in self._mine(owner)}:
                (self._latents / _latents_name(record.voice.native)).unlink(missing_ok=True)

    def latents(self, key: str) -> Latents | None:
        """Return the latents kept under a key, None if there are none. Raises `VoiceUnusable`."""
        try:
            return load((self._latents / _latents_name(key)).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError) as error:
            logger.exception("the latents %s cannot be read", key)
            raise VoiceUnusable("what is kept of this voice cannot be read; delete it and make it again") from error

    def tidy(self) -> None:
        """Remove what a crash has left: half-written files, and latents that no record refers to.

        Raises `VoiceUnusable`.
        """
        with _file_errors():
            folders = [self._shared, *(each for each in _entries(self._owners) if each.is_dir())]
            places = (*folders, self._latents)
            unfinished = [path for place in places for path in _entries(place) if path.suffix == ".tmp"]
            for path in (*unfinished, *self._orphans(folders)):
                with suppress(FileNotFoundError):
                    if time.time() - path.stat().st_mtime > ORPHAN_S:
                        path.unlink()

    def _orphans(self, folders: Sequence[Path]) -> list[Path]:
        """Return the latents that no record refers to; none while there is a record that cannot be read."""
        records = [_read(path) for folder in folders for path in _entries(folder) if path.suffix == ".json"]
        kept = {_latents_name(each.voice.native) for each in records if each}
        return [each for each in _entries(self._latents) if each.name not in kept] if all(records) else []

    def _own(self, owner: str) -> Path:
        return self._owners / hashlib.sha256(owner.encode()).hexdigest()

    def _find(self, owner: str, voice_id: str) -> _Record | None:
        if not CLONE_ID.fullmatch(voice_id):
            return None
        return _read(self._own(owner) / f"{voice_id}.json") or _read(self._shared / f"{voice_id}.json")

    def _mine(self, owner: str) -> list[_Record]:
        shared = (each for each in _records(self._shared) if each.owner == owner)
        return [*_records(self._own(owner)), *shared]


def _latents_name(key: str) -> str:
    return f"{key}.safetensors"


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _records(folder: Path) -> Iterator[_Record]:
    return filter(None, (_read(path) for path in _entries(folder) if path.suffix == ".json"))


def _read(path: Path) -> _Record | None:
    """Return a record; None if there is none, or none that can be read."""
    try:
        return _from_json(path, json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        logger.exception("%s is not the record of a voice", path)
        return None


def _from_json(path: Path, raw: dict[str, Any]) -> _Record:
    voice = Voice(
        id=path.stem,
        name=raw["name"],
        model=raw["model"],
        languages=tuple(raw["languages"]),
        native=raw["latents"],
        created=datetime.fromisoformat(raw["created"]),
        shared=raw["shared"],
    )
    return _Record(path, raw["owner"], voice)


def _to_json(owner: str, voice: Voice, consent: bool) -> bytes:
    assert voice.created is not None
    raw = {
        "name": voice.name,
        "model": voice.model,
        "languages": voice.languages,
        "latents": voice.native,
        "created": voice.created.isoformat(),
        "shared": voice.shared,
        "owner": owner,
        "speaker_consents": consent,
    }
    return json.dumps(raw, indent=2, ensure_ascii=False).encode()


@contextmanager
def _fresh(folder: Path, data: bytes) -> Iterator[Path]:
    """Write `data` to a new file for the block to put in its place in the same folder; then see to it that it lasts."""
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder, suffix=".tmp")
    path = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield path
        _sync(folder)
    finally:
        path.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Have the names in a folder written to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _file_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        logger.exception("the folder of voices cannot be used")
        raise VoiceUnusable("this server cannot keep voices: its folder of voices cannot be used") from error
