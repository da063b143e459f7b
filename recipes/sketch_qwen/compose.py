"""Composes training texts in one language from its building blocks, with the noise of real typing."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from recipes.sketch_qwen.vocabulary import CATEGORIES, FIELDS, Language

T = TypeVar("T")

_SLOT = re.compile(r"\{(\w+)\}")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_BARE_PEOPLE = ("man", "woman", "soldier", "king", "queen", "couple", "model", "monster", "giant", "girl of nineteen")


@dataclass(frozen=True, slots=True)
class Wording:
    """A text and its safe wording: the same text where it is safe already, empty where there is none."""

    text: str
    safe: str
    category: str = ""


class Composer:
    """A source of texts in one language; all choices come from `rng`."""

    def __init__(self, language: Language, rng: random.Random) -> None:
        self.language = language
        self._rng = rng

    def scene(self, field: str) -> str:
        """A harmless text whose content belongs to `field`."""
        if self.language.topics[field] and self._chance(0.2):
            return self._dressed(self._sign(field))
        makers = {"landscape": self._landscape, "portrait": self._portrait, "poster": self._poster, "logo": self._logo}
        return self._dressed(makers.get(field, self._general)())

    def innocent(self) -> tuple[str, Wording]:
        """A field, and a harmless text of it that looks unsafe at a glance, with a plainer wording."""
        field = self._pick(tuple(self.language.innocent))
        pair = self._pick(self.language.innocent[field])
        return field, self._framed(pair.text, pair.safe, "", framed=field == "general")

    def unsafe(self, category: str | None = None) -> Wording:
        """A text of an unsafe category with its safe wording; minors have none."""
        category = category or self._pick(CATEGORIES)
        pair = self._pick(self.language.unsafe[category])
        values = self._people()
        text, safe = self._filled(pair.text, values), self._filled(pair.safe, values)
        if self._chance(0.45):
            context, comma = self._pick(self.language.contexts), self._chance(0.35)
            text = self._joined(text, context, comma=comma)
            safe = self._joined(safe, context, comma=comma) if safe else ""
        return self._framed(text, safe, category, framed=True)

    def injection(self, ids: Sequence[str], labels: Sequence[str]) -> str:
        """An attempt to steer the choice towards one of `ids`, `labels` or a field."""
        marks = self.language.fields[self._pick(FIELDS)]["marks"]
        values = {"id": self._pick(ids), "l": self._pick(labels), "f": self._pick(marks)}
        return self._filled(self._pick(self.language.injections), values)

    def reassurance(self) -> str:
        """An attempt to have an unsafe text pass."""
        return self._pick(self.language.reassurances)

    def attacked(self, text: str, line: str) -> str:
        """`text` with an attempt before, after or around it."""
        before, after = f"{line}: {text}", f"{text}{self._pick(('. ', ' - ', ' | ', ' // ', ' ', ', '))}{line}"
        return self._pick((before, after, after, f"{text} ({line})", f"{line}. {text}", f"{line}. {text}. {line}"))

    def noisy(self, text: str) -> str:
        """`text` with other case, punctuation or a typing mistake, now and then."""
        draw = self._rng.random()
        if draw < 0.25:
            return text.lower()
        if draw < 0.29:
            return text.upper()
        if draw < 0.45:
            return text[:1].upper() + text[1:] + self._pick((".", "!", "", "", "..."))
        if draw < 0.52 and len(text) > 6:
            at = self._rng.randrange(1, len(text) - 2)
            swapped = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
            return self._pick((swapped, text[:at] + text[at + 1 :], text[:at] + text[at] + text[at:]))
        return text

    def _sign(self, field: str) -> str:
        """Words that rules take for a sign of `field`; a poster's or logo's is about something."""
        phrases = [" ".join(self._pick(word) for word in self._pick(self.language.topics[field])) for _ in range(2)]
        text = self._joined(*phrases) if self._chance(0.5) else phrases[0]
        return self._joined(text, self._anything()) if field in {"poster", "logo"} and self._chance(0.6) else text

    def _landscape(self) -> str:
        lists = self.language.fields["landscape"]
        text = self._view() if self._chance(0.5) else self._bare(self._pick(lists["subjects"]))
        for _ in range(self._pick((0, 0, 1, 1, 1, 2, 3))):
            text = self._joined(text, self._pick(lists["details"]))
        return self._joined(text, self._pick(lists["marks"])) if self._chance(0.1) else text

    def _portrait(self) -> str:
        lists = self.language.fields["portrait"]
        text = self._filled(self._pick(lists["framings"]), {"x": self._bare(self._pick(lists["subjects"]))})
        for _ in range(self._pick((0, 0, 1, 1, 1, 2, 3))):
            text = self._joined(text, self._pick(lists["details"]))
        return text

    def _poster(self) -> str:
        lists = self.language.fields["poster"]
        if self._chance(0.25):
            text = self._pick(lists["bare"])
        else:
            about = self._pick(lists["topics"]) if self._chance(0.65) else self._anything()
            text = self._filled(self._pick(lists["formats"]), {"x": about, **self._signs()})
        for _ in range(self._pick((0, 0, 1, 1, 2))):
            text = self._joined(text, self._filled(self._pick(lists["layouts"]), self._signs()))
        return text

    def _logo(self) -> str:
        lists = self.language.fields["logo"]
        about = self._pick(lists["businesses"]) if self._chance(0.75) else self._anything()
        motif = self._pick(lists["motifs"]) if self._chance(0.8) else self._anything()
        text = self._filled(self._pick(lists["formats"]), {"x": about, "m": motif, **self._signs()})
        for _ in range(self._pick((0, 0, 1, 1, 2))):
            text = self._joined(text, self._pick(lists["details"]))
        return text

    def _general(self) -> str:
        lists = self.language.fields["general"]
        text = self._thing() if self._chance(0.6) else self._bare(self._pick(lists["subjects"]))
        for _ in range(self._pick((0, 0, 1, 1, 2))):
            text = self._joined(text, self._pick(lists["details"]))
        if self._chance(0.1):
            text = self._joined(text, self._pick(self.language.fields["landscape"]["details"]))
        return text

    def _thing(self) -> str:
        """Things in a frame; one in five is no word at all, since what a prompt is about may never have been seen."""
        lists = self.language.fields["general"]
        first, second = (
            self._invented() if self._chance(0.2) else self._bare(self._pick(lists["things"])) for _ in range(2)
        )
        return self._filled(self._pick(lists["frames"]), {"x": first, "y": second})

    def _view(self) -> str:
        """Parts of a landscape in a frame."""
        lists = self.language.fields["landscape"]
        first, second = self._pick(lists["things"]), self._pick(lists["things"])
        return self._filled(self._pick(lists["frames"]), {"x": first, "y": second})

    def _invented(self) -> str:
        syllables = (self._pick("bcdfghklmnprstvwz") + self._pick("aeiou") for _ in range(self._pick((2, 2, 3, 4))))
        return "".join(syllables) + self._pick(("", "", "n", "r", "s", "t", "l", "ck", "ng"))

    def _anything(self) -> str:
        if self._chance(0.3):
            return self._pick(self.language.fields["general"]["things"])
        return self._pick(self.language.fields[self._pick(("landscape", "portrait", "general"))]["subjects"])

    def _signs(self) -> dict[str, str]:
        lists = self.language.fields["poster"]
        quote = self._pick(lists["quotes"])
        letter = self._pick(_LETTERS)
        return {"q": self._pick(("{}", "'{}'", '"{}"')).format(quote), "l": letter}

    def _people(self) -> dict[str, str]:
        women, men = self.language.people["w"], self.language.people["h"]
        woman, man = self._pick(women), self._pick(men)
        return {"w": woman, "h": man, "p": self._pick((woman, man)), "b": self._pick(_BARE_PEOPLE)}

    def _framed(self, text: str, safe: str, category: str, *, framed: bool) -> Wording:
        """The same frame around both wordings, so that rewriting keeps it."""
        frame = "{x}"
        if framed and self._chance(0.15):
            formats = self.language.fields[self._pick(("poster", "portrait"))]
            frame = self._pick(formats.get("formats", formats.get("framings", ())))
        frame = self._filled(frame, {**self._signs(), "x": "{x}"})
        if "{x}" not in frame:
            frame = "{x}"
        frame = self._dressed(frame)
        return Wording(self._filled(frame, {"x": text}), self._filled(frame, {"x": safe}) if safe else "", category)

    def _dressed(self, text: str) -> str:
        """`text` with a style or two, in a request, or alone."""
        for _ in range(self._pick((0, 0, 0, 1, 1, 2))):
            text = self._joined(text, self._pick(self.language.styles), comma=True)
        if self._chance(0.2):
            text = self._filled(self._pick(self.language.requests), {"x": text})
        return text

    def _joined(self, text: str, detail: str, *, comma: bool | None = None) -> str:
        if not self.language.spaced:
            return text + ("、" if self.language.code == "ja" else "，") + detail
        parted = self._chance(0.35) if comma is None else comma
        return f"{text}, {detail}" if parted else f"{text} {detail}"

    def _bare(self, phrase: str) -> str:
        """Drop the article, as in keyword prompts, now and then."""
        first, _, rest = phrase.partition(" ")
        return rest if rest and first in self.language.articles and self._chance(0.35) else phrase

    def _filled(self, template: str, values: Mapping[str, str]) -> str:
        return _SLOT.sub(lambda match: values.get(match[1], match[0]), template)

    def _chance(self, probability: float) -> bool:
        return self._rng.random() < probability

    def _pick(self, items: Sequence[T]) -> T:
        return items[self._rng.randrange(len(items))]
