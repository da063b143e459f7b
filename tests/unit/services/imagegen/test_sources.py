import io

import numpy as np
import pytest
from PIL import Image

from services.imagegen.sources import MAX_BYTES, read_mask, read_picture


def file(width: int = 8, height: int = 4, mode: str = "RGB", format: str = "PNG") -> bytes:
    data = io.BytesIO()
    Image.new(mode, (width, height), "white").save(data, format)
    return data.getvalue()


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_pictures_of_any_kind_become_rgb(mode: str, format: str) -> None:
    assert read_picture(file(mode=mode, format=format)).shape == (4, 8, 3)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "whole PNG, JPEG or WebP"),
        (b"GIF89a", "whole PNG, JPEG or WebP"),
        (file(format="BMP"), "whole PNG, JPEG or WebP"),
        (file()[:40], "whole PNG, JPEG or WebP"),
        (file(width=5000), "at most 4096 pixels"),
        (b"x" * (MAX_BYTES + 1), "at most 3145728 bytes"),
    ],
)
def test_what_is_no_picture_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        read_picture(data)


def test_a_mask_has_the_size_of_its_picture() -> None:
    with pytest.raises(ValueError, match="8 x 5 pixels like the picture, not 8 x 4"):
        read_mask(file(), 8, 5)


def test_a_mask_is_grey() -> None:
    assert np.array_equal(read_mask(file(), 8, 4), np.full((4, 8), 255))


def test_a_photograph_is_turned_as_it_was_held() -> None:
    image, file = Image.new("RGB", (8, 4)), io.BytesIO()
    exif = image.getexif()
    exif[274] = 6  # orientation: a quarter turn
    image.save(file, "JPEG", exif=exif)

    assert read_picture(file.getvalue()).shape == (8, 4, 3)


def test_broken_notes_on_how_it_was_held_are_no_reason_to_refuse_a_photograph() -> None:
    image, file = Image.new("RGB", (8, 4)), io.BytesIO()
    image.save(file, "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")

    assert read_picture(file.getvalue()).shape == (4, 8, 3)


def deep(values: list[int]) -> bytes:
    """Return a PNG of one row of greys in 16 bits."""
    data = io.BytesIO()
    Image.fromarray(np.array([values], np.uint16)).save(data, "PNG")
    return data.getvalue()


def test_greys_of_16_bits_keep_their_brightness() -> None:
    data = deep([0, 128, 129, 257 * 100, 65535])

    assert read_picture(data)[0].tolist() == [[grey] * 3 for grey in (0, 0, 1, 100, 255)]
    assert read_mask(data, 5, 1).tolist() == [[0, 0, 1, 100, 255]]


def test_greys_of_16_bits_are_turned_as_they_were_held() -> None:
    image, file = Image.fromarray(np.zeros((4, 8), np.uint16)), io.BytesIO()
    exif = image.getexif()
    exif[274] = 6  # orientation: a quarter turn
    image.save(file, "PNG", exif=exif)

    assert read_picture(file.getvalue()).shape == (8, 4, 3)
