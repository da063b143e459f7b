"""Fakes and samples that several tests of speech share."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence

import numpy as np

from servekit.admission import Admission
from servekit.errors import EngineFailure
from servekit.residency import Loaded, ModelSpec, OnProgress, Residency
from servekit.worker import CancelToken
from services.voice import catalog as catalogs
from services.voice.catalog import Catalog, ModelRow
from services.voice.domain import Piece, Roster, Samples, TextPart, Utterance, Voice
from services.voice.loan import Loan
from services.voice.ports import Capabilities, Engine
from services.voice.stopwatch import Stopwatch
from services.voice.turns import Calls, OnQueued, OnTaken, Turns
from services.voice.voices import VoiceBook

RATE = 22050
CAN = Capabilities(sample_rate=RATE, streaming=True, word_times=True, ssml=True, rate=True, pitch=True)

Break = str
"""A piece that is a text is an engine failure with that message."""
Answer = Sequence[Piece | Break]


def row(model: str = "robot", **values: object) -> ModelRow:
    fields = {
        "id": model,
        "display_name": model.title(),
        "family": "espeak",
        "source": "nowhere",
        "license": "MIT",
        "strengths": "Speaks like a test.",
        "default_voice": f"{model}/en",
        "max_characters": 100,
        "bytes": 1,
    }
    return ModelRow.model_validate(fields | values)


def voice(model: str = "robot", name: str = "en", *languages: str) -> Voice:
    return Voice(f"{model}/{name}", name.upper(), model, languages or (name,))


def book(*voices: Voice, rows: Sequence[ModelRow] = ()) -> VoiceBook:
    """Return a book with the given voices, each the default of its first language."""
    known = voices or (voice(), voice("robot", "pt-br", "pt-br", "pt"), voice("robot", "de"))
    models = dict.fromkeys(each.model for each in known)
    made = VoiceBook(Catalog(rows or [row(model) for model in models]))
    for model in models:
        own = tuple(each for each in known if each.model == model)
        made.add(model, Roster(own, {each.languages[0]: each.id for each in own}))
    return made


def shipped() -> Catalog:
    return catalogs.load(families=["espeak", "xtts"])


def tone(seconds: float, level: float = 0.3) -> Samples:
    return (level * np.sin(2 * np.pi * 300 * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def babble(seconds: float, rate: int = RATE) -> Samples:
    """Return what a check takes for speech: a pitch of 120 Hz with overtones, in syllables, four a second."""
    time = np.arange(round(seconds * rate)) / rate
    voice = sum(np.sin(2 * np.pi * 120 * overtone * time) / overtone for overtone in range(1, 8))
    syllables = np.clip(np.sin(2 * np.pi * 4 * time), 0, None)
    return (0.2 * voice * syllables).astype(np.float32)


class ScriptedEngine:
    """Answers each utterance with the next of `answers`, the last one for ever; remembers what it was asked."""

    resident_bytes = 1

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.heard: list[Utterance] = []
        self.stopped = 0
        self.closed = False

    async def speak(self, utterance: Utterance) -> AsyncGenerator[Piece, None]:
        self.heard.append(utterance)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        try:
            for piece in answer:
                if isinstance(piece, Break):
                    raise EngineFailure(piece)
                yield piece
        except GeneratorExit:
            self.stopped += 1
            raise

    async def close(self) -> None:
        self.closed = True


class Shelf:
    """Loads engines that need nothing."""

    def __init__(self) -> None:
        self.loaded: list[str] = []

    async def load(self, model_id: str, on_progress: OnProgress, token: CancelToken) -> Loaded[Engine]:
        self.loaded.append(model_id)
        on_progress(1.0)
        return Loaded(ScriptedEngine([tone(0.1)]), 1)

    async def unload(self, value: Engine) -> None:
        await value.close()


def nothing(*_: object) -> None:
    """Take no notice."""


class Studio:
    """Everything that calls share: places, and room for one engine of two."""

    def __init__(self, *, capacity: int = 1, queue_limit: int = 9) -> None:
        self.shelf = Shelf()
        specs = [ModelSpec("robot", bytes=1), ModelSpec("spare", bytes=1)]
        self.residency: Residency[Engine] = Residency(specs, self.shelf, budget_bytes=1)
        self.admission = Admission(capacity=capacity, queue_limit=queue_limit)
        self.calls = Calls(self.admission, most=capacity + queue_limit)

    def turns(
        self,
        watch: Stopwatch,
        model: str = "robot",
        *,
        characters: int = 0,
        on_queued: OnQueued = nothing,
        on_taken: OnTaken = nothing,
    ) -> Turns:
        """Return the turns of one more call."""
        loan = Loan(self.residency, nothing)
        return Turns(
            self.calls, loan, model, characters=characters, watch=watch, on_queued=on_queued, on_taken=on_taken
        )


async def parts_of(*parts: TextPart) -> AsyncIterator[TextPart]:
    for part in parts:
        yield part
