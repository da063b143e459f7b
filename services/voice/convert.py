"""Between the wire and the domain. Pure; a request is refused with everything that is wrong with it at once."""

import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar

from atelier.common.v1 import types_pb2
from atelier.voice.v1 import voice_pb2
from atelier.voice.v1 import voice_service_pb2 as wire
from servekit.errors import InvalidRequest, Violation
from services.voice import domain
from services.voice.ports import Capabilities
from services.voice.text import ssml
from services.voice.text.languages import is_tag
from services.voice.text.speakable import NOTHING_TO_SPEAK, is_speakable
from services.voice.voices import VoiceBook

MAX_TEXT = 200_000
MAX_PIECE = 10_000
MAX_NAME = 128
MIN_RATE_HZ, MAX_RATE_HZ = 8000, 48000

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
_FORMATS = {
    voice_pb2.AUDIO_FORMAT_UNSPECIFIED: domain.AudioFormat.WAV,
    voice_pb2.AUDIO_FORMAT_WAV: domain.AudioFormat.WAV,
    voice_pb2.AUDIO_FORMAT_PCM_S16LE: domain.AudioFormat.PCM_S16LE,
    voice_pb2.AUDIO_FORMAT_PCM_F32LE: domain.AudioFormat.PCM_F32LE,
    voice_pb2.AUDIO_FORMAT_FLAC: domain.AudioFormat.FLAC,
    voice_pb2.AUDIO_FORMAT_OGG_OPUS: domain.AudioFormat.OGG_OPUS,
    voice_pb2.AUDIO_FORMAT_MP3: domain.AudioFormat.MP3,
}
_Factor = Literal["rate", "pitch", "volume"]
_FACTORS: Mapping[_Factor, tuple[float, float]] = {"rate": (0.5, 2.0), "pitch": (0.5, 2.0), "volume": (0.0, 2.0)}

Response = TypeVar("Response", wire.SynthesizeResponse, wire.SynthesizeStreamResponse)


class Reader:
    """Reads requests for speech against the voices and abilities that there are."""

    def __init__(self, book: VoiceBook, capabilities: Mapping[str, Capabilities]) -> None:
        self._book = book
        self._capabilities = capabilities

    def synthesis(self, request: wire.SynthesizeRequest, made: Sequence[domain.Voice] = ()) -> tuple[str, domain.Order]:
        """Return text and order. `made` are the caller's voices made from clips that the request may mean.

        Raises `InvalidRequest` with every violation, `UnknownModel`, `UnknownVoice`.
        """
        violations = list(_text(request.text, ssml_expected=request.config.ssml))
        order = self._order(request.config, made, violations)
        if violations:
            raise InvalidRequest(violations)
        return request.text, order

    def stream_config(self, request: wire.SynthesizeStreamRequest, made: Sequence[domain.Voice] = ()) -> domain.Order:
        """Return the order of a stream's first request. Arguments and errors as of `synthesis`."""
        if request.WhichOneof("part") != "config":
            raise InvalidRequest([Violation("config", "is required as the first request, before any text")])
        violations: list[Violation] = []
        if request.config.ssml:
            violations.append(Violation("config.ssml", "must be false: SSML cannot be cut in pieces; use Synthesize"))
        order = self._order(request.config, made, violations)
        if violations:
            raise InvalidRequest(violations)
        return order

    def _order(
        self, config: wire.SynthesisConfig, made: Sequence[domain.Voice], violations: list[Violation]
    ) -> domain.Order:
        """Return the order; what is wrong is added to `violations`, and the order then means nothing."""
        violations += _names(config)
        violations += _audio(config.audio)
        named = config if not any(each.field in _NAMES for each in violations) else wire.SynthesisConfig()
        language = named.language.lower()
        voice, contradictions = self._book.resolve(named.model, named.voice, language, made)
        violations += contradictions
        if config.ssml and not self._capabilities[voice.model].ssml:
            able = ", ".join(model for model, can in self._capabilities.items() if can.ssml)
            violations.append(Violation("config.ssml", f"{voice.model} does not speak SSML; {able or 'no model'} does"))
        return domain.Order(
            model=voice.model,
            voice=voice,
            language=language or voice.languages[0],
            audio=_audio_config(config.audio),
            seed=config.seed if config.HasField("seed") else None,
            word_times=config.word_times,
            ssml=config.ssml,
        )


_NAMES = {"config.model", "config.voice", "config.language"}


def text_part(request: wire.SynthesizeStreamRequest) -> domain.TextPart:
    """Return what a later request of a stream adds. Raises `InvalidRequest`."""
    match request.WhichOneof("part"):
        case "text":
            violations = list(_controls(request.text))
            if len(request.text) > MAX_PIECE:
                excess = f"has {len(request.text)} characters; send at most {MAX_PIECE} at once"
                violations.append(Violation("text", excess))
            if violations:
                raise InvalidRequest(violations)
            return request.text
        case "flush":
            return domain.Flush()
        case "config":
            raise InvalidRequest([Violation("config", "must be sent once, as the first request of the stream")])
        case _:
            raise InvalidRequest([Violation("part", "is empty; set text or flush")])


def _names(config: wire.SynthesisConfig) -> Iterator[Violation]:
    for name in ("model", "voice"):
        if len(getattr(config, name)) > MAX_NAME:
            yield Violation(f"config.{name}", f"must be an id of at most {MAX_NAME} characters")
    if config.language and not is_tag(config.language):
        yield Violation("config.language", "must be a BCP 47 tag such as `en` or `pt-br`, or empty")


def _audio(audio: voice_pb2.AudioConfig) -> Iterator[Violation]:
    if audio.format not in _FORMATS:
        known = ", ".join(voice_pb2.AudioFormat.keys()[1:])
        yield Violation("config.audio.format", f"must be one of {known}, not {audio.format}")
    if audio.HasField("sample_rate") and not MIN_RATE_HZ <= audio.sample_rate <= MAX_RATE_HZ:
        wanted = f"must be {MIN_RATE_HZ} to {MAX_RATE_HZ} hertz, not {audio.sample_rate}"
        yield Violation("config.audio.sample_rate", wanted)
    for name, (low, high) in _FACTORS.items():
        value = _factor(audio, name)
        if not (math.isfinite(value) and low <= value <= high):
            yield Violation(f"config.audio.{name}", f"must be {low:g} to {high:g}, not {value:g}")


def _factor(audio: voice_pb2.AudioConfig, name: _Factor) -> float:
    return float(getattr(audio, name)) if audio.HasField(name) else 1.0


def _audio_config(audio: voice_pb2.AudioConfig) -> domain.AudioConfig:
    return domain.AudioConfig(
        format=_FORMATS.get(audio.format, domain.AudioFormat.WAV),
        sample_rate=audio.sample_rate if audio.HasField("sample_rate") else None,
        rate=_factor(audio, "rate"),
        pitch=_factor(audio, "pitch"),
        volume=_factor(audio, "volume"),
        normalize_loudness=audio.normalize_loudness,
    )


def _text(text: str, *, ssml_expected: bool) -> Iterator[Violation]:
    if not text:
        yield Violation("text", f"is required, 1 to {MAX_TEXT} characters")
        return
    if len(text) > MAX_TEXT:
        yield Violation("text", f"has {len(text)} characters; at most {MAX_TEXT} are accepted")
        return
    if controls := list(_controls(text)):
        yield from controls
    elif not is_speakable(text):
        yield Violation("text", NOTHING_TO_SPEAK)
    elif ssml_expected and (fault := ssml.fault(text)):
        yield Violation("text", fault)


def _controls(text: str) -> Iterator[Violation]:
    found = _CONTROLS.search(text)
    if found:
        name = unicodedata.name(found.group(), f"U+{ord(found.group()):04X}")
        where = f"has the control character {name} at {found.start()}"
        yield Violation("text", f"{where}; only line breaks and tabs are accepted")


# ---- out ----


def response(kind: type[Response], event: domain.Event) -> Response:
    """Return an event as the message of either method: their events have the same names."""
    name, message = _MESSAGES[type(event)]
    return kind(**{name: message(event)})


def _header(header: domain.Header) -> wire.AudioHeader:
    return wire.AudioHeader(
        media_type=header.format.value,
        sample_rate=header.sample_rate,
        channels=1,
        voice=header.voice,
        model=header.model,
        language=header.language,
    )


def _word(word: domain.WordSpoken) -> voice_pb2.WordTime:
    return voice_pb2.WordTime(text_offset=word.offset, text_length=word.length, start_seconds=word.start_s)


def _retry(retry: domain.Retried) -> wire.SpeechRetry:
    return wire.SpeechRetry(cause=retry.cause.value, remedy=retry.remedy.value, attempt=retry.attempt)


def _summary(summary: domain.Summary) -> wire.SpeechSummary:
    return wire.SpeechSummary(
        model=summary.model,
        voice=summary.voice,
        audio_seconds=summary.audio_s,
        first_audio_seconds=summary.first_audio_s,
        total_seconds=summary.total_s,
        real_time_factor=summary.work_s / summary.audio_s if summary.audio_s else 0.0,
        characters=summary.characters,
        sentences=summary.sentences,
        stages=[types_pb2.StageSeconds(stage=stage, seconds=seconds) for stage, seconds in summary.stages],
        adjustments=[
            types_pb2.Adjustment(field=each.field, requested=each.requested, used=each.used, reason=each.reason)
            for each in summary.adjustments
        ],
        attempts=summary.attempts,
        audio_bytes=summary.audio_bytes,
    )


_MESSAGES: Mapping[type[domain.Event], tuple[str, Callable[[Any], Any]]] = {
    domain.Queued: ("queued", lambda each: types_pb2.Queued(position=each.position, eta_seconds=each.eta_s)),
    domain.Loading: ("loading", lambda each: types_pb2.Loading(model=each.model, fraction=each.fraction)),
    domain.Header: ("audio", _header),
    domain.Audio: ("chunk", lambda each: types_pb2.Chunk(data=each.data, offset=each.offset)),
    domain.WordSpoken: ("word", _word),
    domain.Retried: ("retry", _retry),
    domain.Summary: ("summary", _summary),
}
"""Name and message of each event."""
