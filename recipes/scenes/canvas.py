"""An anti-aliased canvas: drawn at twice the size with sub-pixel coordinates, then reduced."""

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from recipes.scenes.palette import Colour

SIZE = 96
"""Width and height of a finished picture, in pixels."""

Picture = NDArray[np.uint8]
"""A picture [height, width, 3] in RGB."""
Point = tuple[float, float]
"""x and y in 0..1, from the top left."""

_SCALE = 2
_SIDE = SIZE * _SCALE
_SHIFT = 4
_UNIT = _SIDE * (1 << _SHIFT)
_GLYPH_HEIGHT = 96


class Canvas:
    """Draws filled shapes in unit coordinates; `finish` reduces to SIZE x SIZE."""

    def __init__(self, colour: Colour) -> None:
        self._pixels: Picture = np.full((_SIDE, _SIDE, 3), colour, dtype=np.uint8)

    def gradient(self, top: Colour, bottom: Colour, until: float = 1.0) -> None:
        """Fill the rows above `until` with a vertical blend of two colours."""
        rows = max(2, round(until * _SIDE))
        share = np.linspace(0.0, 1.0, rows)[:, None]
        column = np.asarray(top) * (1 - share) + np.asarray(bottom) * share
        self._pixels[:rows] = column.astype(np.uint8)[:_SIDE, None, :]

    def rectangle(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """Fill an axis-parallel rectangle."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        """Fill a polygon."""
        cv2.fillPoly(self._pixels, [_fixed(points)], colour, cv2.LINE_AA, _SHIFT)

    def line(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """Draw an open line of `width` (a share of the side)."""
        thickness = max(1, round(width * _SIDE))
        cv2.polylines(self._pixels, [_fixed(points)], False, colour, thickness, cv2.LINE_AA, _SHIFT)

    def circle(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """Fill a circle."""
        cv2.circle(self._pixels, _coordinate(x, y), round(radius * _UNIT), colour, -1, cv2.LINE_AA, _SHIFT)

    def ellipse(
        self, x: float, y: float, width: float, height: float, colour: Colour, arc: tuple[int, int] = (0, 360)
    ) -> None:
        """Fill an ellipse with half axes `width` and `height`, or its part between two angles.

        Angles are in degrees, clockwise from the right.
        """
        axes = (round(width * _UNIT), round(height * _UNIT))
        cv2.ellipse(self._pixels, _coordinate(x, y), axes, 0, arc[0], arc[1], colour, -1, cv2.LINE_AA, _SHIFT)

    def arc(
        self, x: float, y: float, width: float, height: float, span: tuple[int, int], stroke: float, colour: Colour
    ) -> None:
        """Draw the outline of an ellipse between two angles."""
        axes = (round(width * _UNIT), round(height * _UNIT))
        thickness = max(1, round(stroke * _SIDE))
        cv2.ellipse(self._pixels, _coordinate(x, y), axes, 0, span[0], span[1], colour, thickness, cv2.LINE_AA, _SHIFT)

    def text(self, text: str, x: float, y: float, height: float, colour: Colour, width: float = 1.0) -> None:
        """Write `text` centred on a point, `height` high, and narrowed where it would be wider than `width`."""
        mask = glyphs(text)
        rows = max(1, round(height * _SIDE))
        columns = max(1, min(round(width * _SIDE), round(mask.shape[1] * rows / mask.shape[0])))
        scaled = cv2.resize(mask, (columns, rows), interpolation=cv2.INTER_AREA)
        top = min(max(0, round(y * _SIDE - rows / 2)), _SIDE - rows)
        left = min(max(0, round(x * _SIDE - columns / 2)), _SIDE - columns)
        region = self._pixels[top : top + rows, left : left + columns]
        share = scaled[..., None].astype(np.float32) / 255
        region[:] = (region * (1 - share) + np.asarray(colour, dtype=np.float32) * share).astype(np.uint8)

    def finish(self) -> Picture:
        """The picture, [SIZE, SIZE, 3] RGB."""
        return cv2.resize(self._pixels, (SIZE, SIZE), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


@lru_cache(maxsize=256)
def glyphs(text: str) -> NDArray[np.uint8]:
    """The coverage mask of `text` in a bold sans-serif face, cropped to its ink; [rows, columns] in 0..255."""
    font = ImageFont.load_default(size=_GLYPH_HEIGHT)
    left, top, right, bottom = font.getbbox(text)
    image = Image.new("L", (int(right - left) + 24, int(bottom - top) + 24))
    ImageDraw.Draw(image).text((12 - left, 12 - top), text, fill=255, font=font, stroke_width=4)
    mask = np.asarray(image, dtype=np.uint8)
    rows, columns = np.nonzero(mask)
    return mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def _coordinate(x: float, y: float) -> tuple[int, int]:
    return round(x * _UNIT), round(y * _UNIT)


def _fixed(points: Sequence[Point]) -> NDArray[np.int32]:
    return np.round(np.asarray(points) * _UNIT).astype(np.int32)
