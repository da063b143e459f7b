"""SSML: may a document be handed to an engine, what does it say, and are its pauses of a length that may be?"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.parsers import expat

from services.voice.domain import Adjustment
from services.voice.text.normalise import Normalised, Stretch, joined
from services.voice.text.speakable import NOTHING_TO_SPEAK, is_speakable

MAX_BREAK_S = 10
"""Seconds that a `<break>` lasts at most."""
MAX_BREAKS_S = 300
"""Seconds that all of a document last at most: silence costs whoever asks for it nothing."""

_BREAK_TIME = re.compile(r"""<break(?=\s)[^<>]*?\stime\s*=\s*["'](?P<time>[^"'<>]*)""", re.IGNORECASE)
_DURATION = re.compile(r"\s*\+?(?P<number>[0-9]*\.?[0-9]+)\s*(?P<seconds>s?)", re.IGNORECASE)
_WHOLE = re.compile(r"[0-9]+(?:s|ms)?", re.IGNORECASE)
"""The durations that every engine understands; espeak stops reading at a point or a space."""
_MOST_QUOTED = 32


class _Reader:
    """Reads a document. Nothing is fetched or expanded."""

    def __init__(self, text: str) -> None:
        """Raise `ValueError` or `ExpatError` if the text is no document."""
        self.root = ""
        self._depth = 0
        self._replaced: int | None = None
        """How deep the `<sub>` stands whose text is not said, because its alias is."""
        self._said: list[str] = []
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._begin
        parser.EndElementHandler = self._end
        parser.StartDoctypeDeclHandler = self._doctype
        parser.CharacterDataHandler = self._text
        parser.Parse(text, True)

    @property
    def said(self) -> str:
        """The text without markup and without the white space that lays it out."""
        return " ".join("".join(self._said).split())

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        self.root = self.root or name
        self._depth += 1
        if self._replaced is None and name == "sub" and "alias" in attributes:
            self._said.append(attributes["alias"])
            self._replaced = self._depth

    def _end(self, _: str) -> None:
        if self._replaced == self._depth:
            self._replaced = None
        self._depth -= 1

    def _doctype(self, *_: object) -> None:
        raise ValueError("must not have a document type")

    def _text(self, text: str) -> None:
        if self._replaced is None:
            self._said.append(text)


def fault(text: str) -> str:
    """Return what is wrong with an SSML document, empty if nothing is."""
    try:
        reader = _Reader(text)
    except (expat.ExpatError, ValueError) as error:
        return f"is not well-formed SSML: {error}"
    if reader.root != "speak":
        return f"must have the root element <speak>, not <{reader.root}>"
    return "" if is_speakable(reader.said) else NOTHING_TO_SPEAK


@dataclass(frozen=True, slots=True)
class Document:
    """A faultless document as an engine gets it."""

    text: Normalised
    characters: int
    """Length of what it says."""
    adjustments: tuple[Adjustment, ...]


def document(text: str) -> Document:
    """Return a document with its breaks in whole milliseconds, each `MAX_BREAK_S` at most and all `MAX_BREAKS_S`."""
    shortened: list[tuple[str, int]] = []
    normalised = joined(_stretches(text, shortened), len(text))
    return Document(normalised, len(_Reader(text).said), tuple(_adjustments(shortened)))


def _stretches(text: str, shortened: list[tuple[str, int]]) -> Iterator[Stretch]:
    """Yield the text with the durations that change; add to `shortened` those that were too long, and what they got."""
    done, left = 0, MAX_BREAKS_S * 1000
    for match in _BREAK_TIME.finditer(text):
        start, end = match.span("time")
        wanted = _milliseconds(match["time"])
        if wanted is None:
            continue
        most = min(MAX_BREAK_S * 1000, left)
        used = round(min(wanted, most))
        left -= used
        if wanted > most:
            shortened.append((match["time"], used))
        elif _WHOLE.fullmatch(match["time"]):
            continue
        yield text[done:start], done, start, True
        yield f"{used}ms", start, end, False
        done = end
    yield text[done:], done, len(text), True


def _milliseconds(time: str) -> float | None:
    """Return how long a duration is; None if it is none."""
    match = _DURATION.match(time)
    return float(match["number"]) * (1000 if match["seconds"] else 1) if match else None


def _adjustments(shortened: list[tuple[str, int]]) -> Iterator[Adjustment]:
    """Yield one for all breaks, which may be thousands."""
    if shortened:
        (wanted, used), others = shortened[0], len(shortened) - 1
        more = f"; so {others} more" if others else ""
        reason = f"a <break> lasts at most {MAX_BREAK_S} s, all of a document {MAX_BREAKS_S} s{more}"
        yield Adjustment("text", f"break of {wanted[:_MOST_QUOTED]}", f"{used / 1000:g}s", reason)
