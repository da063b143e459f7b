"""Templates of shapes, letters and words, and reading them."""

from collections.abc import Sequence
from functools import lru_cache

from recipes.scenes.canvas import Canvas, glyphs
from recipes.scenes.reading.pixels import Mask, best_match
from recipes.scenes.shapes import draw_shape


@lru_cache(maxsize=64)
def shape_template(shape: str) -> Mask:
    """The mask of a shape that fills the canvas."""
    canvas = Canvas((0, 0, 0))
    draw_shape(canvas, shape, 0.5, 0.5, 0.4, (255, 255, 255))
    mask: Mask = canvas.finish()[..., 0] > 127
    return mask


@lru_cache(maxsize=64)
def text_template(text: str) -> Mask:
    """The mask of a letter or a word."""
    mask: Mask = glyphs(text) > 127
    return mask


def read_shape(mask: Mask, shapes: Sequence[str]) -> str:
    """Which of the shapes a filled mask is."""
    return best_match(mask, {shape: shape_template(shape) for shape in shapes})


def read_text(mask: Mask, texts: Sequence[str]) -> str:
    """Which of the texts the marked strokes spell."""
    return best_match(mask, {text: text_template(text) for text in texts})
