"""espeak's voices as ours."""

from collections.abc import Iterable, Iterator, Mapping

from services.voice.domain import Roster, Voice
from services.voice.engines.espeak.tasks import NativeVoice

FEMALE_VARIANT = "f2"
_GENDERS = {1: "male", 2: "female"}


def roster(model: str, natives: Iterable[NativeVoice], default_voices: Mapping[str, str]) -> Roster:
    """Return two voices for each of espeak's, as it is and female, and the best for every language tag."""
    voices: dict[str, Voice] = {}
    best: dict[str, tuple[int, str]] = {}
    for native in natives:
        voice = _voice(model, native, voices)
        voices[voice.id] = voice
        for rank, tag in native.languages:
            known = best.get(tag.lower())
            if known is None or rank < known[0]:
                best[tag.lower()] = (rank, voice.id)
    women = [_female(voice) for voice in voices.values()]
    everyone = sorted([*voices.values(), *women], key=lambda each: each.id)
    return Roster(tuple(everyone), {tag: voice_id for tag, (_, voice_id) in best.items()} | dict(default_voices))


def _voice(model: str, native: NativeVoice, taken: Mapping[str, Voice]) -> Voice:
    tags = tuple(_unique(tag.lower() for _, tag in native.languages))
    file_name = native.identifier.rpartition("/")[2].lower()
    name = tags[0] if f"{model}/{tags[0]}" not in taken else file_name
    gender = _GENDERS.get(native.gender, "")
    return Voice(f"{model}/{name}", native.name, model, tags, gender, native.identifier)


def _female(voice: Voice) -> Voice:
    return Voice(
        f"{voice.id}+female",
        f"{voice.name}, female",
        voice.model,
        voice.languages,
        "female",
        f"{voice.native}+{FEMALE_VARIANT}",
    )


def _unique(tags: Iterable[str]) -> Iterator[str]:
    return iter(dict.fromkeys(tags))
