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
CLIP_PART = 65536
"""Bytes of a clip in one message of `CreateVoice`."""


def generate_request(prompt: str, **options: Any) -> image_pb2.GenerateRequest:
    """Return a request; `options` are fields of `GenerateRequest`, None for unset.

    `format` and `tier` may be names such as `png` and `fast`.

    Raises:
        AtelierError: an option does not exist or has the wrong type.
    """
    _number(options, "format", imagegen_pb2.ImageFormat, "IMAGE_FORMAT_")
    _number(options, "tier", imagegen_pb2.Tier, "TIER_")
    return _message(image_pb2.GenerateRequest, prompt=prompt, **options)


def synthesis_config(**options: Any) -> voice_service_pb2.SynthesisConfig:
    """Return a config; `options` are fields of `SynthesisConfig` and of `AudioConfig`, None for unset.

    Raises:
        AtelierError: an option does not exist or has the wrong type.
    """
    _number(options, "format", voice_pb2.AudioFormat, "AUDIO_FORMAT_")
    audio_fields = set(voice_pb2.AudioConfig.DESCRIPTOR.fields_by_name)
    audio = {name: value for name, value in options.items() if name in audio_fields}
    rest = {name: value for name, value in options.items() if name not in audio_fields}
    return _message(voice_service_pb2.SynthesisConfig, audio=_message(voice_pb2.AudioConfig, **audio), **rest)


def text_parts(text: str) -> list[str]:
    """Return `text` in pieces that `SynthesizeStream` accepts."""
    source = io.StringIO(text, newline="")
    return list(iter(lambda: source.read(MAX_TEXT_PART), ""))


def create_voice_requests(
    voice: str, clip: bytes | str | Path, **options: Any
) -> Iterator[voice_service_pb2.CreateVoiceRequest]:
    """Return the requests of `CreateVoice`; `clip` is a file or its bytes, `options` are fields of `CreateVoiceConfig`.

    Raises:
        AtelierError: an option does not exist or has the wrong type.
        OSError: the file cannot be read.
    """
    config = _message(voice_service_pb2.CreateVoiceConfig, id=voice, **options)
    data = clip if isinstance(clip, bytes) else Path(clip).read_bytes()
    first = voice_service_pb2.CreateVoiceRequest(config=config)
    parts = [data[at : at + CLIP_PART] for at in range(0, len(data), CLIP_PART)]
    return iter([first, *(voice_service_pb2.CreateVoiceRequest(clip=part) for part in parts)])


def _message(kind: type[M], **fields: Any) -> M:
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        return kind(**given)
    except (TypeError, ValueError) as error:
        known = ", ".join(kind.DESCRIPTOR.fields_by_name)
        raise _invalid(kind.DESCRIPTOR.name, f"{error}; fields are: {known}") from error


def _number(options: dict[str, Any], field: str, kind: Any, prefix: str) -> None:
    """Put the number of an enum's value in place of its name, if it is a name."""
    name = options.get(field)
    if not isinstance(name, str):
        return
    names = {each.removeprefix(prefix).lower(): number for each, number in kind.items() if number}
    if name.lower() not in names:
        raise _invalid(field, f"{name!r} is not one of {', '.join(names)}")
    options[field] = names[name.lower()]


def _invalid(field: str, description: str) -> AtelierError:
    return AtelierError(
        code="INVALID_ARGUMENT",
        message="the request is invalid",
        reason="INVALID_REQUEST",
        violations=(FieldViolation(field, description),),
    )
