import io
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from atelier.imagegen.v1 import image_service_pb2, imagegen_pb2
from servekit.errors import InvalidRequest
from services.imagegen import domain
from services.imagegen.convert import to_request

Request = image_service_pb2.GenerateRequest


def fields(message: Request) -> list[str]:
    with pytest.raises(InvalidRequest) as caught:
        to_request(message)
    return [each.field for each in caught.value.violations]


def picture(width: int = 8, height: int = 8, mode: str = "RGB") -> bytes:
    data = io.BytesIO()
    Image.new(mode, (width, height)).save(data, "PNG")
    return data.getvalue()


def source(**values: Any) -> imagegen_pb2.SourceImage:
    return imagegen_pb2.SourceImage(**{"data": picture(), **values})


def adapters(count: int) -> list[imagegen_pb2.Adapter]:
    return [imagegen_pb2.Adapter(id=f"a{number}") for number in range(count)]


def test_unset_fields_leave_the_choice_to_the_model() -> None:
    assert to_request(Request(prompt="a lake")) == domain.GenerationRequest(prompt="a lake")


def test_every_field_arrives() -> None:
    message = Request(
        prompt="a lake\n\tat dusk",
        negative_prompt="fog",
        model="sketch",
        width=128,
        height=64,
        steps=7,
        guidance=4.4,
        seed=9,
        count=2,
        scheduler="euler",
        format=imagegen_pb2.IMAGE_FORMAT_WEBP,
        quality=80,
        refine=True,
        adapters=[imagegen_pb2.Adapter(id="lora", weight=-0.5)],
        priority=imagegen_pb2.PRIORITY_HIGH,
        safety=imagegen_pb2.SAFETY_POLICY_FLAG,
        tier=imagegen_pb2.TIER_FAST,
        dry_run=True,
        exclusive_batch=True,
        preview_every=3,
    )

    assert to_request(message) == domain.GenerationRequest(
        prompt="a lake\n\tat dusk",
        negative_prompt="fog",
        model="sketch",
        width=128,
        height=64,
        steps=7,
        guidance=4.4,
        seed=9,
        count=2,
        scheduler="euler",
        format=domain.ImageFormat.WEBP,
        quality=80,
        refine=True,
        adapters=(domain.AdapterChoice("lora", -0.5),),
        priority=domain.Priority.HIGH,
        safety=domain.SafetyPolicy.FLAG,
        tier=domain.Tier.FAST,
        dry_run=True,
        exclusive_batch=True,
        preview_every=3,
    )


def test_zero_is_a_value_and_not_unset() -> None:
    request = to_request(Request(prompt="a", seed=0, guidance=0.0))

    assert (request.seed, request.guidance) == (0, 0.0)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"prompt": ""}, "prompt"),
    ({"prompt": " \n\t "}, "prompt"),
    ({"prompt": "x" * 4001}, "prompt"),
    ({"prompt": "x" * 1_000_000}, "prompt"),
    ({"prompt": "a\x00b"}, "prompt"),
    ({"prompt": "a\x1b[31mb"}, "prompt"),
    ({"prompt": "a\x7f"}, "prompt"),
    ({"negative_prompt": "x" * 4001}, "negative_prompt"),
    ({"negative_prompt": "\x08"}, "negative_prompt"),
    ({"model": "x" * 129}, "model"),
    ({"model": "a\nb"}, "model"),
    ({"scheduler": "\x00"}, "scheduler"),
    ({"allowed_models": ["ok", "x" * 129]}, "allowed_models[1]"),
    ({"width": 0}, "width"),
    ({"width": 15}, "width"),
    ({"width": -512}, "width"),
    ({"height": 4097}, "height"),
    ({"steps": 0}, "steps"),
    ({"steps": -1}, "steps"),
    ({"steps": 201}, "steps"),
    ({"guidance": math.nan}, "guidance"),
    ({"guidance": math.inf}, "guidance"),
    ({"guidance": -0.1}, "guidance"),
    ({"guidance": 30.1}, "guidance"),
    ({"seed": -1}, "seed"),
    ({"seed": 2**63 - 1, "count": 2}, "seed"),
    ({"count": 0}, "count"),
    ({"count": 10_001}, "count"),
    ({"quality": 0}, "quality"),
    ({"quality": 101}, "quality"),
    ({"format": 99}, "format"),
    ({"priority": -1}, "priority"),
    ({"safety": 4}, "safety"),
    ({"preview_every": -1}, "preview_every"),
    ({"preview_every": 201}, "preview_every"),
    ({"adapters": adapters(5)}, "adapters"),
    ({"adapters": [imagegen_pb2.Adapter()]}, "adapters[0].id"),
    ({"adapters": [*adapters(1), *adapters(1)]}, "adapters[1].id"),
    ({"adapters": [imagegen_pb2.Adapter(id="a", weight=2.1)]}, "adapters[0].weight"),
    ({"adapters": [imagegen_pb2.Adapter(id="a", weight=math.nan)]}, "adapters[0].weight"),
    ({"source": source(data=b"")}, "source.data"),
    ({"source": source(data=b"not a picture")}, "source.data"),
    ({"source": source(data=picture()[:40])}, "source.data"),
    ({"source": source(strength=0)}, "source.strength"),
    ({"source": source(strength=1.1)}, "source.strength"),
    ({"source": source(strength=math.nan)}, "source.strength"),
    ({"source": source(mask=picture(4, 4))}, "source.mask"),
    ({"source": source(mask=b"x")}, "source.mask"),
]


@pytest.mark.parametrize(("values", "field"), BAD)
def test_a_bad_value_is_named_by_its_field(values: dict[str, Any], field: str) -> None:
    assert fields(Request(**{"prompt": "a lake", **values})) == [field]


def test_everything_wrong_is_told_at_once() -> None:
    found = fields(Request(prompt="", width=0, steps=-1, guidance=math.nan, count=0, format=9))  # type: ignore[arg-type]

    assert found == ["prompt", "width", "steps", "guidance", "count", "format"]


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_an_invalid_one(data: bytes) -> None:
    message = Request()
    try:
        message.MergeFromString(data)
    except Exception:
        return
    try:
        request = to_request(message)
    except InvalidRequest as error:
        assert error.violations
    else:
        assert request.prompt.strip()


@given(st.floats(0, 30, width=32))
def test_guidance_keeps_the_digits_that_were_typed(value: float) -> None:
    request = to_request(Request(prompt="a", guidance=value))

    assert request.guidance is not None
    assert math.isclose(request.guidance, value, rel_tol=1e-6, abs_tol=1e-30)
