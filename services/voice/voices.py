"""The voices of all engines, and which of them a request means."""

import difflib
from collections.abc import Iterable, Iterator, Sequence

from servekit.errors import ModelUnavailable, Violation
from services.voice.catalog import Catalog, CatalogError, ModelRow
from services.voice.domain import Roster, UnknownVoice, Voice

MOST_NAMED = 12
"""Alternatives that an error message lists."""


class VoiceBook:
    """Built-in voices by id. Empty until every engine's are added."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._rosters: dict[str, Roster] = {}
        self._voices: dict[str, Voice] = {}

    def add(self, model: str, roster: Roster) -> None:
        """Add the voices of a model. Raises `CatalogError` with each default of its row that is none of them."""
        if mistakes := list(_unknown_defaults(self._catalog.get(model), [voice.id for voice in roster.voices])):
            raise CatalogError("\n".join(mistakes))
        self._rosters[model] = roster
        self._voices |= {voice.id: voice for voice in roster.voices}

    def has(self, voice_id: str) -> bool:
        """Tell whether a voice is built in."""
        return voice_id in self._voices

    def listed(self, language: str = "", model: str = "", made: Sequence[Voice] = ()) -> list[Voice]:
        """Return the voices of a language and a model (empty for all), those `made` of clips too, ordered by id.

        Raises `UnknownModel`.
        """
        if model:
            self._catalog.get(model)
        tag = language.lower()
        of_model = (each for each in (*self._voices.values(), *made) if model in ("", each.model))
        return sorted((each for each in of_model if not tag or speaks(each, tag)), key=lambda each: each.id)

    def get(self, voice_id: str, made: Sequence[Voice] = ()) -> Voice:
        """Return a voice, built in or one of those `made` of clips. Raises `UnknownVoice` with the nearest ids."""
        voices = {each.id: each for each in made} | self._voices
        if voice_id not in voices:
            nearest = difflib.get_close_matches(voice_id.lower(), voices, n=3, cutoff=0.4)
            raise UnknownVoice("voice", voice_id, nearest)
        return voices[voice_id]

    def default(self, model: str, language: str) -> Voice | None:
        """Return who speaks a language unless asked otherwise; the model's own default for no language."""
        roster = self._rosters[model]
        if not language:
            return self._voices.get(self._catalog.get(model).default_voice)
        chosen = next((roster.defaults[tag] for tag in _ever_shorter(language) if tag in roster.defaults), "")
        wider = (roster.defaults[tag] for tag in sorted(roster.defaults) if tag.startswith(f"{language}-"))
        return self._voices.get(chosen or next(wider, ""))

    def resolve(
        self, model: str, voice_id: str, language: str, made: Sequence[Voice] = ()
    ) -> tuple[Voice, list[Violation]]:
        """Return whom a request means, of all or those `made` of clips, and what is wrong; all three may be empty.

        Raises `UnknownModel`, `UnknownVoice`, `ModelUnavailable`; with violations the voice returned is only a guess.
        """
        if model:
            self._catalog.get(model)
        if voice_id:
            voice = self.get(voice_id, made)
            return voice, list(_contradictions(voice, model, language))
        model = model or self._catalog.default().id
        found = self.default(model, language)
        if found is not None:
            return found, []
        voices = self.listed(model=model)
        if not voices:
            raise ModelUnavailable(f"{model} has no voices of its own; name one that was made from a clip")
        return voices[0], [Violation("config.language", self._spoken(model, language))]

    def _spoken(self, model: str, language: str) -> str:
        tags = sorted({tag for voice in self.listed(model=model) for tag in voice.languages})
        near = difflib.get_close_matches(language, tags, n=3, cutoff=0.4)
        hint = f"; nearest are {', '.join(near)}" if near else ""
        shown = ", ".join(tag for tag in tags if "-" not in tag and len(tag) == 2)[: MOST_NAMED * 4 - 2]
        return f"{model} does not speak {language!r}; it speaks {len(tags)} languages, for instance {shown}{hint}"


def speaks(voice: Voice, tag: str) -> bool:
    """Tell whether a voice speaks a BCP 47 tag (lower case), or a wider or narrower form of it."""
    return is_spoken(tag, voice.languages)


def is_spoken(tag: str, languages: Iterable[str]) -> bool:
    """Tell whether a BCP 47 tag, or a wider or narrower form of it, is among `languages` (all in lower case)."""
    return any(tag == own or tag.startswith(f"{own}-") or own.startswith(f"{tag}-") for own in languages)


def _unknown_defaults(row: ModelRow, known: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with the defaults of a row. Where no voice is known in advance, any may come to be."""
    wanted = {"default_voice": row.default_voice}
    wanted |= {f"default_voices.{tag}": voice for tag, voice in row.default_voices.items()}
    for field, voice in wanted.items():
        if known and voice not in known:
            nearest = difflib.get_close_matches(voice, known, n=3, cutoff=0) or known[:3]
            yield f"{row.id}: {field}: no voice {voice!r}; nearest are {', '.join(nearest)}"


def _contradictions(voice: Voice, model: str, language: str) -> Iterator[Violation]:
    if model and voice.model != model:
        yield Violation("config.voice", f"{voice.id!r} is a voice of model {voice.model!r}, not of {model!r}")
    if language and not speaks(voice, language):
        yield Violation("config.language", f"{voice.id!r} speaks {_listing(voice.languages)}, not {language!r}")


def _listing(items: Sequence[str]) -> str:
    return ", ".join(items[:MOST_NAMED])


def _ever_shorter(tag: str) -> Iterable[str]:
    """Yield `pt-br-x`, `pt-br`, `pt`."""
    while tag:
        yield tag
        tag = tag.rpartition("-")[0]
