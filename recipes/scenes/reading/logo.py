"""Reading logos."""

import cv2
import numpy as np

from recipes.scenes.canvas import SIZE, Picture
from recipes.scenes.logo import LETTERS, Logo
from recipes.scenes.palette import Colour
from recipes.scenes.reading.pixels import Mask, blobs, corners, distance, filled, median, nearest
from recipes.scenes.reading.shapes import read_shape, read_text
from recipes.scenes.shapes import SHAPES

_LETTER_SHARE = 0.02
_CONTRAST = 42.0


def logo_verdicts(logo: Logo, picture: Picture) -> dict[str, bool]:
    """Background, shape and its colour; letter and its colour where there is one."""
    ground = corners(picture)
    shape = _shape_mask(picture, ground)
    ink = _shape_colour(picture, shape)
    found = {
        "background": nearest(ground) == logo.background,
        "shape": read_shape(shape, SHAPES) == logo.shape,
        "shape colour": nearest(ink) == logo.colour,
    }
    letter = _letter_mask(picture, shape, ink)
    present = bool(letter.sum() > _LETTER_SHARE * SIZE * SIZE / 2)
    if logo.letter is None:
        return found | {"no letter": not present}
    core = cv2.erode(letter.astype(np.uint8), np.ones((2, 2), np.uint8)).astype(bool)
    written = median(picture[core if core.any() else letter])
    return found | {
        "letter": present and read_text(letter, LETTERS) == logo.letter,
        "letter colour": present and nearest(written) == logo.letter_colour,
    }


def _shape_mask(picture: Picture, ground: Colour) -> Mask:
    """The largest thing that is not background, its holes closed."""
    away = distance(picture, ground)
    found = blobs(away > _CONTRAST)
    return filled(found[0].mask) if found else np.zeros(picture.shape[:2], bool)


def _shape_colour(picture: Picture, shape: Mask) -> Colour:
    """The colour along the shape's inner rim, where no letter is."""
    inner = _eroded(shape, 2)
    rim = inner & ~_eroded(shape, 5)
    return median(picture[rim if rim.any() else shape])


def _letter_mask(picture: Picture, shape: Mask, ink: Colour) -> Mask:
    """The pixels inside the shape that differ from its colour."""
    away = np.where(_eroded(shape, 3), distance(picture, ink), 0.0)
    contrast = float(np.percentile(away[away > 40], 80)) if (away > 40).any() else 0.0
    strokes = away > max(45.0, 0.5 * contrast)
    found = blobs(strokes, smallest=12)
    return found[0].mask if found else np.zeros_like(strokes)


def _eroded(mask: Mask, pixels: int) -> Mask:
    return cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=pixels).astype(bool)
