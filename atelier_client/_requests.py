"""Builds requests from plain Python values."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.message import Message

from atelier.imagegen.v1 import image_service_pb2 as image_pb2
from atelier.imagegen.v1 import imagegen_pb2
from atelier.voice.v1 import voice_pb2, voice_service_pb2
from atelier_client._errors import AtelierError, FieldViolation

M = TypeVar("M", bound=Message)

MAX_TEXT_PART = 10_000
"""Characters in one text message of `SynthesizeStream`."""
Clip = bytes | bytearray | memoryview | str | Path
"""A recording: its bytes, or its file."""
CLIP_PART = 65536
"""Bytes of a clip in one message of `CreateVoice`."""


def generate_request(prompt: str, **options: Any) -> image_pb2.GenerateRequest:
    """Return a request; `options` are fields of `GenerateRequest`, None for unset.

    `format`, `tier`, `priority` and `safety` may be names such as `png`, `fast`, `high` and `flag`.

    Raises:
        AtelierError: an option does not exist or has the wrong type.
    """
    _only(options, _names(image_pb2.GenerateRequest, but="prompt"))
    _number(options, "format", imagegen_pb2.ImageFormat, "IMAGE_FORMAT_")
    _number(options, "tier", imagegen_pb2.Tier, "TIER_")
    _number(options, "priority", imagegen_pb2.Priority, "PRIORITY_")
    _number(options, "safety", imagegen_pb2.SafetyPolicy, "SAFETY_POLICY_")
    return message(image_pb2.GenerateRequest, prompt=prompt, **options)


def synthesis_config(**options: Any) -> voice_service_pb2.SynthesisConfig:
    """Return a config; `options` are fields of `SynthesisConfig` and of `AudioConfig`, None for unset.

    Raises:
        AtelierError: an option does not exist or has the wrong type.
    """
    audio_fields = _names(voice_pb2.AudioConfig)
    _only(options, [*_names(voice_service_pb2.SynthesisConfig, but="audio"), *audio_fields])
    _number(options, "format", voice_pb2.AudioFormat, "AUDIO_FORMAT_")
    audio = {name: value for name, value in options.items() if name in audio_fields}
    rest = {name: value for name, value in options.items() if name not in audio_fields}
    return message(voice_service_pb2.SynthesisConfig, audio=message(voice_pb2.AudioConfig, **audio), **rest)


def text_parts(text: object) -> list[str]:
    """Return `text` in pieces that `SynthesizeStream` accepts.

    Raises:
        AtelierError: it is no text.
    """
    if not isinstance(text, str):
        raise _invalid("text", f"a piece of text is a str, not {type(text).__name__}")
    source = io.StringIO(text, newline="")
    return list(iter(lambda: source.read(MAX_TEXT_PART), ""))


def text_requests(text: object) -> list[voice_service_pb2.SynthesizeStreamRequest]:
    """Return the requests of `SynthesizeStream` for a piece of text.

    Raises:
        AtelierError: it is no text, or cannot be sent.
    """
    return [message(voice_service_pb2.SynthesizeStreamRequest, text=part) for part in text_parts(text)]


def check_pieces(text: object, kind: type) -> None:
    """Check that `text` can be iterated over in the way of `kind`.

    Raises:
        AtelierError: it cannot.
    """
    if not isinstance(text, kind):
        raise _invalid("text", f"{type(text).__name__} is no {kind.__name__} of str")


def create_voice_requests(voice: str, clip: Clip, **options: Any) -> Iterator[voice_service_pb2.CreateVoiceRequest]:
    """Return the requests of `CreateVoice`; `clip` is a file or its bytes, `options` are fields of `CreateVoiceConfig`.

    Raises:
        AtelierError: an option does not exist or has the wrong type, or the clip is no file.
        OSError: the file cannot be read.
    """
    _only(options, _names(voice_service_pb2.CreateVoiceConfig, but="id"))
    config = message(voice_service_pb2.CreateVoiceConfig, id=voice, **options)
    data = _clip(clip)
    first = voice_service_pb2.CreateVoiceRequest(config=config)
    parts = [data[at : at + CLIP_PART] for at in range(0, len(data), CLIP_PART)]
    return iter([first, *(voice_service_pb2.CreateVoiceRequest(clip=part) for part in parts)])


def message(kind: type[M], /, **fields: Any) -> M:
    """Return a message with these fields, None for unset.

    Raises:
        AtelierError: a value does not fit its field.
    """
    built = kind()
    for name, value in fields.items():
        try:
            built.MergeFrom(kind(**{name: value}))
        except UnicodeEncodeError as error:
            where = f"character {error.start + 1} is a lone surrogate"
            raise _invalid(name, f"no valid Unicode: {where}, as bytes become that the locale lacks") from error
        except (TypeError, ValueError, OverflowError) as error:
            raise _invalid(name, f"{type(value).__name__} does not fit: {error}") from error
    return built


def _clip(clip: Clip) -> bytes:
    if isinstance(clip, bytes | bytearray | memoryview):
        return bytes(clip)
    try:
        return Path(clip).read_bytes()
    except (TypeError, ValueError) as error:  # no path at all, or one with a null
        raise _invalid("clip", f"is neither a file nor its bytes: {error}") from error


def _names(kind: type[Message], but: str = "") -> list[str]:
    return [name for name in kind.DESCRIPTOR.fields_by_name if name != but]


def _only(options: dict[str, Any], known: list[str]) -> None:
    for name in options:
        if name not in known:
            raise _invalid(name, f"there is no such option; there are {', '.join(known)}")


def _number(options: dict[str, Any], field: str, kind: Any, prefix: str) -> None:
    """Put the number of an enum's value in place of its name, if it is a name."""
    name = options.get(field)
    if not isinstance(name, str):
        return
    names = {each.removeprefix(prefix).lower(): number for each, number in kind.items() if number}
    short = name.upper().removeprefix(prefix).lower()
    if short not in names:
        raise _invalid(field, f"{name!r} is not one of {', '.join(names)}")
    options[field] = names[short]


def _invalid(field: str, description: str) -> AtelierError:
    return AtelierError(
        code="INVALID_ARGUMENT",
        message="the request is invalid",
        reason="INVALID_REQUEST",
        violations=(FieldViolation(field, description),),
    )
