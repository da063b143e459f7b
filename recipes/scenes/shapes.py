"""Closed shapes that logos and posters share."""

import math

from recipes.scenes.canvas import Canvas, Point
from recipes.scenes.palette import Colour

SHAPES: tuple[str, ...] = ("circle", "square", "star", "triangle", "heart", "hexagon", "shield", "diamond")


def draw_shape(canvas: Canvas, shape: str, x: float, y: float, radius: float, colour: Colour) -> None:
    """Fill one of SHAPES around a point."""
    if shape == "circle":
        canvas.circle(x, y, radius, colour)
    else:
        canvas.polygon([(x + radius * px, y + radius * py) for px, py in _OUTLINES[shape]], colour)


def _regular(corners: int, start: float) -> list[Point]:
    turns = [math.radians(start + 360 * corner / corners) for corner in range(corners)]
    return [(math.cos(turn), math.sin(turn)) for turn in turns]


def _star() -> list[Point]:
    outer, inner = _regular(5, -90), _regular(5, -54)
    return [point for pair in zip(outer, [(0.45 * x, 0.45 * y) for x, y in inner], strict=True) for point in pair]


def _heart() -> list[Point]:
    """The classic sine curve x = 16 sin^3 t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t, scaled to the unit circle."""
    turns = [2 * math.pi * step / 40 for step in range(40)]
    return [
        (
            math.sin(turn) ** 3,
            -(13 * math.cos(turn) - 5 * math.cos(2 * turn) - 2 * math.cos(3 * turn) - math.cos(4 * turn)) / 16,
        )
        for turn in turns
    ]


def _shield() -> list[Point]:
    right = [(0.8, -0.9), (0.8, 0.05), (0.68, 0.42), (0.42, 0.76), (0.0, 1.05)]
    return [*right, *((-x, y) for x, y in reversed(right[:-1]))]


_OUTLINES: dict[str, list[Point]] = {
    "square": [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)],
    "star": _star(),
    "triangle": [(0.0, -1.0), (1.0, 0.8), (-1.0, 0.8)],
    "heart": _heart(),
    "hexagon": _regular(6, 0),
    "shield": _shield(),
    "diamond": [(0.0, -1.05), (0.8, 0.0), (0.0, 1.05), (-0.8, 0.0)],
}
