"""Piper's voice files as our voices: `NAME.onnx` with `NAME.onnx.json` beside it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.voice.catalog import CatalogError
from services.voice.domain import EngineSpec, Roster, Voice

HOW_TO_GET = "python -m piper.download_voices en_US-lessac-medium --data-dir FOLDER"


@dataclass(frozen=True, slots=True)
class VoiceFile:
    """One file, which may have several speakers."""

    path: Path
    sample_rate: int
    """Hertz."""
    tag: str
    """BCP 47 tag in lower case."""
    title: str
    speakers: Mapping[str, int]
    """Number by name; empty for a file with one."""

    @property
    def name(self) -> str:
        """Name without endings, for instance `en_US-lessac-medium`."""
        return self.path.name.removesuffix(".onnx")


def voice_files(spec: EngineSpec) -> list[VoiceFile]:
    """Return the files of a row, whose `source` is a folder or one file. Raises `CatalogError` with every mistake."""
    source = Path(spec.source).expanduser()
    paths = sorted(source.glob("*.onnx")) if source.is_dir() else [source]
    mistakes: list[str] = []
    found = [file for path in paths if (file := _read(path, mistakes))]
    if not paths:
        mistakes.append(f"no *.onnx in {source}")
    if mistakes:
        hint = f"must be a Piper voice or a folder of some, each NAME.onnx with NAME.onnx.json; get one: {HOW_TO_GET}"
        raise CatalogError("\n".join(f"{spec.model}: source: {each}; {hint}" for each in mistakes))
    return found


def roster(spec: EngineSpec, files: Sequence[VoiceFile]) -> Roster:
    """Return the voices of all files, and for each language the first that speaks it."""
    voices = tuple(voice for file in files for voice in _voices(spec.model, file))
    defaults = {voice.languages[0]: voice.id for voice in reversed(voices)}
    return Roster(voices, defaults | dict(spec.default_voices))


def native(file: VoiceFile, speaker: str = "") -> str:
    """Return what `Voice.native` says of a speaker."""
    return f"{file.name}#{speaker}" if speaker else file.name


def _voices(model: str, file: VoiceFile) -> Iterator[Voice]:
    for speaker in file.speakers or [""]:
        name = native(file, speaker)
        title = f"{file.title}, {speaker}" if speaker else file.title
        yield Voice(f"{model}/{name}", title, model, (file.tag,), native=name)


def _read(path: Path, mistakes: list[str]) -> VoiceFile | None:
    config = path.with_name(f"{path.name}.json")
    try:
        if not path.is_file():
            raise FileNotFoundError(f"no file {path}")
        return _from_json(path, json.loads(config.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        mistakes.append(f"{config.name}: {type(error).__name__}: {error}")
        return None


def _from_json(path: Path, raw: Mapping[str, Any]) -> VoiceFile:
    language = raw.get("language", {})
    code = language.get("code") or raw["espeak"]["voice"]
    spoken = language.get("name_english", code)
    return VoiceFile(
        path=path,
        sample_rate=int(raw["audio"]["sample_rate"]),
        tag=code.replace("_", "-").lower(),
        title=f"{raw.get('dataset') or path.stem} ({spoken})",
        speakers=dict(raw.get("speaker_id_map", {})) if raw.get("num_speakers", 1) > 1 else {},
    )
