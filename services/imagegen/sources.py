"""Pictures that callers send, read with care: nothing large is decoded before its size is known."""

import io
import struct
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from services.imagegen.domain import Pixels

MAX_BYTES = 3 * 1024 * 1024
MAX_SIDE = 4096
FORMATS = ("PNG", "JPEG", "WEBP")


def read_picture(data: bytes) -> Pixels:
    """Return the picture of a file as RGB. Raises ValueError saying what would be accepted."""
    return np.asarray(_opened(data).convert("RGB"))


def read_mask(data: bytes, width: int, height: int) -> NDArray[np.uint8]:
    """Return the mask of a file, shape (height, width). Raises ValueError saying what would be accepted."""
    image = _opened(data)
    if image.size != (width, height):
        raise ValueError(f"must be {width} x {height} pixels like the picture, not {image.width} x {image.height}")
    return np.asarray(image.convert("L"))


def _opened(data: bytes) -> Image.Image:
    if len(data) > MAX_BYTES:
        raise ValueError(f"must be at most {MAX_BYTES} bytes, not {len(data)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large pictures; they are refused below
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        if max(image.size) > MAX_SIDE:
            raise ValueError(f"must be at most {MAX_SIDE} pixels a side, not {image.width} x {image.height}")
        image.load()
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError("must be a whole PNG, JPEG or WebP file") from error
    return _in_8_bits(_upright(image))


def _in_8_bits(image: Image.Image) -> Image.Image:
    """Return greys of 16 bits in 8: converting them, Pillow would cut off what is more than 255."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray(((np.asarray(image, np.uint32) + 128) // 257).astype(np.uint8))


def _upright(image: Image.Image) -> Image.Image:
    """Return a photograph as it was held, as far as it can be told."""
    try:
        return ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error):
        return image
