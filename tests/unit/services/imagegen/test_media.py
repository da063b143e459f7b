import io
import json

import numpy as np
import pytest
from PIL import Image

from services.imagegen.domain import AdapterChoice, Adjustment, ImageFormat, Job
from services.imagegen.media import encode, encode_preview, record
from services.imagegen.step_cache import StepCache

VERSIONS = {"atelier": "1.2", "torch": "2.13"}
CHANGE = Adjustment("width", "99", "96", "steps of 16")
LORA = AdapterChoice("lora", 0.5)
JOB = Job("a lake,\nat dusk", "fog", 96, 64, 20, 4.5, 7, "flow_euler", (LORA,), cache=StepCache(3), decoder="tiny")


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(64, 96), (300, 300)])
async def test_a_png_holds_the_very_pixels(size: tuple[int, int]) -> None:
    pixels = noise(*size)

    data = await encode(pixels, ImageFormat.PNG, 90, {})

    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)


@pytest.mark.parametrize("format", [ImageFormat.JPEG, ImageFormat.WEBP])
async def test_quality_counts(format: ImageFormat) -> None:
    fine, coarse = [await encode(noise(64, 64), format, quality, {}) for quality in (95, 20)]

    assert len(coarse) < len(fine)
    assert Image.open(io.BytesIO(fine)).format == format.name


async def test_a_png_tells_how_it_was_made() -> None:
    data = await encode(noise(8, 8), ImageFormat.PNG, 90, record(JOB, "sketch", "models/sketch", VERSIONS, [CHANGE]))
    text = Image.open(io.BytesIO(data)).info

    assert text["parameters"] == (
        "a lake,\nat dusk\nNegative prompt: fog\n"
        "Steps: 20, Sampler: flow_euler, CFG scale: 4.5, Seed: 7, Size: 96x64, Model: sketch, Version: atelier 1.2"
    )
    facts = json.loads(text["atelier"])
    assert (facts["adapters"], facts["versions"]) == ({"lora": 0.5}, VERSIONS)
    assert (facts["cache"], facts["decoder"]) == ({"interval": 3, "first": 3, "last": 0, "order": 1}, "tiny")
    assert facts["adjustments"] == [{"field": "width", "requested": "99", "used": "96", "reason": "steps of 16"}]


def test_how_a_request_was_served_is_not_how_its_picture_was_made() -> None:
    served = [
        Adjustment("safety", "block", "ignore", "no classifier"),
        Adjustment("priority", "high", "low", "limits"),
        Adjustment("preview_every", "2", "0", "not judged"),
    ]

    assert record(JOB, "sketch", "", VERSIONS, [CHANGE, *served]) == record(JOB, "sketch", "", VERSIONS, [CHANGE])


async def test_any_language_fits_into_the_record() -> None:
    job = Job("山の湖 🏔", "", 8, 8, 1, 1.0, 0)
    data = await encode(noise(8, 8), ImageFormat.PNG, 90, record(job, "sketch", "", VERSIONS, []))

    assert Image.open(io.BytesIO(data)).info["parameters"].startswith("山の湖 🏔\n")


def test_a_preview_is_small() -> None:
    assert len(encode_preview(noise(1024, 1024))) < 32 * 1024
