"""The built-in voices of a checkpoint. Each speaks every language of XTTS."""

import re
import unicodedata
from collections.abc import Iterable
from importlib import resources

from services.voice.domain import EngineSpec, Roster, Voice
from services.voice.engines.xtts import languages


def shipped() -> tuple[str, ...]:
    """Return the speakers of coqui/XTTS-v2, which can be listed before anything is downloaded."""
    return tuple(resources.files(__package__).joinpath("speakers.txt").read_text(encoding="utf-8").splitlines())


def roster(spec: EngineSpec, speakers: Iterable[str]) -> Roster:
    """Return a voice for each speaker; the first one speaks any language for which the catalog names nobody."""
    tags = languages.available()
    voices = tuple(Voice(f"{spec.model}/{_slug(name)}", name, spec.model, tags, native=name) for name in speakers)
    first = dict.fromkeys(tags, voices[0].id) if voices else {}
    return Roster(voices, {**first, **spec.default_voices})


def _slug(name: str) -> str:
    """Return `camilla-holmstrom` for `Camilla Holmström`."""
    plain = unicodedata.normalize("NFKD", name.replace("ı", "i")).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")
