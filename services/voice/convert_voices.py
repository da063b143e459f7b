"""Between the wire and the domain: voices as resources. Pure; everything that is wrong is told at once."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from atelier.voice.v1 import voice_pb2
from atelier.voice.v1 import voice_service_pb2 as wire
from servekit.errors import InvalidRequest, Violation
from services.voice.cloning import MAX_CLIP_BYTES, MAX_NAME, VoiceWanted
from services.voice.domain import Voice
from services.voice.text.languages import is_tag


def voice(value: Voice) -> voice_pb2.Voice:
    """Return a voice as the message."""
    return voice_pb2.Voice(
        id=value.id,
        display_name=value.name,
        model=value.model,
        languages=value.languages,
        gender=value.gender,
        cloned=value.cloned,
        shared=value.shared,
        created=_timestamp(value.created) if value.created else None,
    )


def _timestamp(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def check_filter(request: wire.ListVoicesRequest) -> None:
    """Raise `InvalidRequest` if a filter cannot be one."""
    violations = []
    if request.language and not is_tag(request.language):
        violations.append(Violation("language", "must be a BCP 47 tag such as `en` or `pt-br`, or empty"))
    if len(request.model) > MAX_NAME:
        violations.append(Violation("model", f"must be an id of at most {MAX_NAME} characters"))
    if violations:
        raise InvalidRequest(violations)


def voice_id(value: str) -> str:
    """Return the id of a voice. Raises `InvalidRequest`."""
    if not 1 <= len(value) <= MAX_NAME:
        raise InvalidRequest([Violation("voice", f"is required: the id of a voice, at most {MAX_NAME} characters")])
    return value


def voice_wanted(request: wire.CreateVoiceRequest) -> VoiceWanted:
    """Return the first request of `CreateVoice`. Raises `InvalidRequest`."""
    if request.WhichOneof("part") != "config":
        raise InvalidRequest([Violation("config", "is required as the first request, before the clip")])
    config = request.config
    violations = [
        Violation(f"config.languages[{index}]", "must be a BCP 47 tag such as `en` or `pt-br`")
        for index, tag in enumerate(config.languages)
        if not is_tag(tag)
    ]
    if len(config.model) > MAX_NAME:
        violations.append(Violation("config.model", f"must be an id of at most {MAX_NAME} characters"))
    if violations:
        raise InvalidRequest(violations)
    return VoiceWanted(
        config.id, config.display_name, config.model, tuple(config.languages), config.consent, config.shared
    )


def clip_part(request: wire.CreateVoiceRequest, received: int) -> bytes:
    """Return the next bytes of a clip of which `received` are here already. Raises `InvalidRequest`."""
    if request.WhichOneof("part") != "clip":
        raise InvalidRequest([Violation("clip", "is required after the first request")])
    if received + len(request.clip) > MAX_CLIP_BYTES:
        raise InvalidRequest([Violation("clip", f"has more than {MAX_CLIP_BYTES} bytes")])
    return request.clip
