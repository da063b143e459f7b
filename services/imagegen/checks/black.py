"""Black pictures: what overflow and some filters leave behind."""

from services.imagegen.domain import Pixels

DARKEST = 4
"""A picture whose every value is below this (of 255) shows nothing."""


def is_black(pixels: Pixels) -> bool:
    """Tell whether a picture shows nothing at all. A dark scene is not black: one visible pixel is enough."""
    return bool(pixels.max(initial=0) < DARKEST)
