"""How fast text is cut into sentences and made speakable, and whether time grows with length alone.

A mix of languages and scripts, fed in pieces of a thousand characters as a stream would bring it; short and long texts
alternate, so that whatever else the machine does hits both alike.
"""

import time
from collections.abc import Callable

from bench._figures import Figure, percentile
from services.voice.text import languages
from services.voice.text.normalise import Normaliser
from services.voice.text.sentences import Splitter

_PIECE = 1000
_SHORT, _LONG = 50_000, 1_000_000
"""Characters."""
_ROUNDS = 7
_TEXTS = {
    "English": (
        "en",
        'Dr. Smith paid $1,234.56 on Jan. 5th, e.g. for "a book". See https://example.org/a?b=1, p. 7! He? Yes👍\n',
    ),
    "German": ("de", "Am 3. Oktober kam z.B. Hr. Meier, um 17.30 Uhr, nach Köln. „Endlich!“, rief er; das war's.\n\n"),
    "Chinese": ("zh", "你好，今天天气很好。我们去公园吧！『真的吗？』她说，价格是3.14元。"),
    "Arabic": ("ar", "مرحبا، كيف حالك اليوم؟ أنا بخير، شكرا. هل أنت بخير؟ نعم! "),
}
_KNOWN = languages.load()

Work = Callable[[str, str], None]


def run() -> list[Figure]:
    """Measure splitting, and splitting with normalisation."""
    return [*_figures("split", _split), *_figures("split and normalise", _speakable)]


def _figures(what: str, work: Work) -> list[Figure]:
    figures, ratios = [], []
    for name, (tag, sample) in _TEXTS.items():
        short, long = (_repeated(sample, characters) for characters in (_SHORT, _LONG))
        rounds = [(_rate(work, short, tag), _rate(work, long, tag)) for _ in range(_ROUNDS)]
        ratios.append(percentile([fast / slow for fast, slow in rounds], 0.5))
        rate = percentile([slow for _, slow in rounds], 0.5)
        figures.append(Figure(f"{what}: {name}, {_LONG} characters", rate, "MB/s", _ROUNDS, aim=">= 1"))
    grown = f"{what}: time per byte of {_LONG} characters to {_SHORT}, worst language"
    return [*figures, Figure(grown, max(ratios), "x", _ROUNDS * len(_TEXTS), aim="<= 1.2")]


def _repeated(sample: str, characters: int) -> str:
    return (sample * (characters // len(sample) + 1))[:characters]


def _rate(work: Work, text: str, tag: str) -> float:
    """Return megabytes (UTF-8) per second of processor time."""
    began = time.process_time()
    work(text, tag)
    return len(text.encode()) / 1e6 / (time.process_time() - began)


def _split(text: str, tag: str) -> None:
    splitter = Splitter(_KNOWN.of(tag), limit=400)
    for start in range(0, len(text), _PIECE):
        for _ in splitter.feed(text[start : start + _PIECE]):
            pass
    for _ in splitter.flush():
        pass


def _speakable(text: str, tag: str) -> None:
    language = _KNOWN.of(tag)
    splitter, normaliser = Splitter(language, limit=400), Normaliser(language)
    for start in range(0, len(text), _PIECE):
        for sentence in splitter.feed(text[start : start + _PIECE]):
            normaliser(sentence.text)
    for sentence in splitter.flush():
        normaliser(sentence.text)
