"""SSML: may a document be handed to an engine, what does it say, and how is it written for the engine?"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from xml.parsers import expat

from services.voice.domain import Adjustment
from services.voice.text import markup
from services.voice.text.normalise import Normalised, Stretch, joined
from services.voice.text.speakable import NOTHING_TO_SPEAK, is_speakable

MAX_BREAK_S = 10
"""Seconds that a `<break>` lasts at most."""
MAX_BREAKS_S = 300
"""Seconds that all of a document last at most: silence costs whoever asks for it nothing."""

_DURATION = re.compile(r"\s*\+?(?P<number>[0-9]*\.?[0-9]+)\s*(?P<seconds>s?)", re.IGNORECASE)
_SPECIAL = re.compile("([&<])")
_MOST_QUOTED = 32


class _Reader:
    """Reads a document and writes it anew. Nothing is fetched or expanded."""

    def __init__(self, text: str) -> None:
        """Raise `ExpatError` if the text is no document, `ValueError` if it has what no document may have."""
        self.root = ""
        self.shortened: list[tuple[str, int]] = []
        """The durations that were too long, and the milliseconds that they got."""
        self._left_ms = MAX_BREAKS_S * 1000
        self._depth = 0
        self._replaced: int | None = None
        """How deep the element stands that something else is said instead of."""
        self._said: list[str] = []
        self._data = text.encode()
        self._written: list[tuple[int, str | None]] = [(0, "")]
        """What is written instead of the bytes from a place on, up to the next place; None if they stay as they are."""
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._begin
        self._parser.EndElementHandler = self._end
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.CharacterDataHandler = self._text
        self._parser.DefaultHandler = self._leave_out
        self._parser.Parse(text, True)

    @property
    def said(self) -> str:
        """The text without markup and without the white space that lays it out."""
        return " ".join("".join(self._said).split())

    def stretches(self) -> Iterator[Stretch]:
        """Yield what is written, with what of the text it stands for."""
        done = 0
        for (start, piece), (end, _) in pairwise((*self._written, (len(self._data), ""))):
            source = self._data[start:end].decode()
            yield source if piece is None else piece, done, done + len(source), piece is None
            done += len(source)

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        self.root = self.root or name
        self._depth += 1
        element = name.lower()
        if element == "audio":
            wanted = f"must not have <audio>: no recording is played; acted on are {', '.join(markup.ELEMENTS)}"
            raise ValueError(wanted)
        if self._replaced is not None:
            return
        instead = _said_instead(element, attributes)
        if instead is None:
            self._write(markup.opening(element, self._values(element, attributes)))
            return
        self._said.append(instead)
        self._write(f" {markup.escaped(instead)} ")
        self._replaced = self._depth

    def _end(self, name: str) -> None:
        if self._replaced is None:
            self._write(markup.closing(name.lower()))
        elif self._replaced == self._depth:
            self._replaced = None
        self._depth -= 1

    def _doctype(self, *_: object) -> None:
        raise ValueError("must not have a document type")

    def _text(self, text: str) -> None:
        if self._replaced is not None:
            return
        self._said.append(text)
        at = self._parser.CurrentByteIndex
        for piece in filter(None, _SPECIAL.split(text)):
            data = piece.encode()
            if piece in "&<" or not self._data.startswith(data, at):
                self._written.append((at, markup.escaped(piece)))
            elif self._written[-1][1] is not None:
                self._written.append((at, None))
            at += len(data)

    def _leave_out(self, _: str) -> None:
        """Comments, processing instructions, and the marks where CDATA begins and ends."""
        if self._replaced is None:
            self._write("")

    def _write(self, piece: str) -> None:
        """Write instead of what begins where the parser is."""
        self._written.append((self._parser.CurrentByteIndex, piece))

    def _values(self, element: str, attributes: Mapping[str, str]) -> dict[str, str]:
        values = {name: value.strip() for name, value in attributes.items()}
        time = values.get("time", "")
        if element == "break" and (wanted := _milliseconds(time)) is not None:
            values["time"] = f"{self._granted(time, wanted)}ms"
        return values

    def _granted(self, time: str, wanted: float) -> int:
        """Return the milliseconds that a break gets."""
        most = min(MAX_BREAK_S * 1000, self._left_ms)
        used = round(min(wanted, most))
        self._left_ms -= used
        if wanted > most:
            self.shortened.append((time, used))
        return used


def fault(text: str) -> str:
    """Return what is wrong with an SSML document, empty if nothing is."""
    try:
        reader = _Reader(text)
    except expat.ExpatError as error:
        return f"is not well-formed SSML: {error}"
    except ValueError as error:
        return str(error)
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
    reader = _Reader(text)
    normalised = joined(reader.stretches(), len(text))
    return Document(normalised, len(reader.said), tuple(_adjustments(reader.shortened)))


def _said_instead(element: str, attributes: Mapping[str, str]) -> str | None:
    """Return what is said instead of an element's text, None if that is said itself."""
    if element == "metadata":
        return ""
    return attributes.get("alias") if element == "sub" else None


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
