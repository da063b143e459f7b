import pytest
from hypothesis import given
from hypothesis import strategies as st

from atelier.imagegen.v1 import imagegen_pb2
from atelier.voice.v1 import voice_pb2
from atelier_client import AtelierError
from atelier_client._requests import (
    MAX_TEXT_PART,
    create_voice_requests,
    generate_request,
    synthesis_config,
    text_parts,
)


def test_unset_options_stay_unset() -> None:
    request = generate_request("a lake", steps=None, width=64)
    assert request.width == 64
    assert not request.HasField("steps")


def test_formats_have_names() -> None:
    assert generate_request("x", format="webp").format == imagegen_pb2.IMAGE_FORMAT_WEBP
    assert synthesis_config(format="ogg_opus").audio.format == voice_pb2.AUDIO_FORMAT_OGG_OPUS


def test_audio_options_find_their_message() -> None:
    config = synthesis_config(voice="espeak/en-us", rate=1.5, language="en")
    assert (config.voice, config.audio.rate, config.language) == ("espeak/en-us", 1.5, "en")


def test_tiers_have_names() -> None:
    assert generate_request("x", tier="fast").tier == imagegen_pb2.TIER_FAST
    with pytest.raises(AtelierError, match="fast, standard, best") as caught:
        generate_request("x", tier="draft")
    assert [each.field for each in caught.value.violations] == ["tier"]


def test_priority_and_safety_have_names() -> None:
    request = generate_request("x", priority="high", safety="Flag")
    assert (request.priority, request.safety) == (imagegen_pb2.PRIORITY_HIGH, imagegen_pb2.SAFETY_POLICY_FLAG)
    assert generate_request("x", priority="PRIORITY_LOW").priority == imagegen_pb2.PRIORITY_LOW
    with pytest.raises(AtelierError, match="low, normal, high"):
        generate_request("x", priority="urgent")
    with pytest.raises(AtelierError, match="block, flag, ignore"):
        generate_request("x", safety="none")


def test_an_unknown_format_names_the_known_ones() -> None:
    with pytest.raises(AtelierError, match="png, jpeg, webp"):
        generate_request("x", format="tiff")


def test_an_unknown_option_names_the_known_ones() -> None:
    with pytest.raises(AtelierError, match="negative_prompt"):
        generate_request("x", colour="red")


def test_an_unknown_option_of_speech_names_those_of_the_audio_too() -> None:
    with pytest.raises(AtelierError, match="sample_rate") as caught:
        synthesis_config(sampel_rate=8000)
    assert [each.field for each in caught.value.violations] == ["sampel_rate"]


def test_a_clip_may_be_in_any_kind_of_bytes() -> None:
    for clip in (b"clip", bytearray(b"clip"), memoryview(b"clip")):
        assert [each.clip for each in create_voice_requests("x", clip)][1:] == [b"clip"]


@given(st.text(max_size=200), st.integers(1, 3))
def test_text_parts_lose_nothing(text: str, times: int) -> None:
    whole = text * (times * 100)
    parts = text_parts(whole)
    assert "".join(parts) == whole
    assert all(len(part) <= MAX_TEXT_PART for part in parts)
