"""Posters and interface-like layouts: patterns, shapes, a word, cards."""

import random
from dataclasses import dataclass

from recipes.scenes.canvas import Canvas
from recipes.scenes.palette import COLOURS, Colour, mix, other, shade
from recipes.scenes.shapes import draw_shape

LAYOUTS: tuple[str, ...] = ("stripes", "checkers", "dots", "rings", "gradient", "shapes", "word", "interface")
DIRECTIONS: tuple[str, ...] = ("horizontal", "vertical", "diagonal")
WORDS: tuple[str, ...] = ("HELLO", "SALE", "OPEN", "MUSIC", "JAZZ", "LOVE", "ART", "NOW", "NEW", "YES", "WOW", "FUN")
POSTER_SHAPES: tuple[str, ...] = ("circle", "square", "triangle", "star", "heart")


@dataclass(frozen=True)
class Poster:
    """One layout in two colours.

    `direction` counts for stripes, `shape` and `count` for shapes (`count` also for the cards of an interface),
    `word` for a word; they are None or 0 elsewhere. `colour` is the upper colour of a gradient and an interface's
    header and button.
    """

    layout: str
    colour: str
    background: str
    direction: str | None
    shape: str | None
    count: int
    word: str | None
    seed: int


def sample_poster(rng: random.Random) -> Poster:
    """Draw the attributes of a poster."""
    layout = rng.choices(LAYOUTS, weights=(20, 11, 9, 9, 8, 20, 13, 14))[0]
    background = rng.choice(("white", "black", "gray") if layout == "interface" else COLOURS)
    colour = other(rng, background)
    return Poster(
        layout=layout,
        colour=colour,
        background=background,
        direction=rng.choice(DIRECTIONS) if layout == "stripes" else None,
        shape=rng.choice(POSTER_SHAPES) if layout == "shapes" else None,
        count={"shapes": rng.randint(1, 3), "interface": rng.randint(2, 4)}.get(layout, 0),
        word=rng.choice(WORDS) if layout == "word" else None,
        seed=rng.getrandbits(32),
    )


def draw_poster(poster: Poster, canvas: Canvas, rng: random.Random, ground: Colour) -> None:
    """Draw a poster on a canvas filled with `ground`, the background's shade."""
    ink = shade(poster.colour, rng)
    if poster.layout == "stripes":
        _stripes(canvas, poster.direction or "horizontal", ink, rng)
    elif poster.layout == "checkers":
        _checkers(canvas, ink, rng.choice((4, 6)))
    elif poster.layout == "dots":
        _dots(canvas, ink, rng.choice((4, 5)))
    elif poster.layout == "rings":
        for step, radius in enumerate((0.44, 0.33, 0.22, 0.11)):
            canvas.circle(0.5, 0.5, radius, ground if step % 2 else ink)
    elif poster.layout == "gradient":
        canvas.gradient(ink, ground)
    elif poster.layout == "shapes":
        _shapes(canvas, poster, ink, rng)
    elif poster.layout == "word":
        canvas.text(poster.word or "", 0.5, 0.5 + rng.uniform(-0.02, 0.02), 0.26, ink, width=0.86)
    else:
        _interface(canvas, poster, ink, ground)


def _stripes(canvas: Canvas, direction: str, ink: Colour, rng: random.Random) -> None:
    bands = rng.choice((4, 5))
    step = 1 / bands
    for band in range(-bands, bands):
        low, high = band * step, (band + 0.5) * step
        if direction == "horizontal":
            canvas.rectangle(0, low, 1, high, ink)
        elif direction == "vertical":
            canvas.rectangle(low, 0, high, 1, ink)
        else:
            canvas.polygon([(low, 0), (high, 0), (high + 1, 1), (low + 1, 1)], ink)


def _checkers(canvas: Canvas, ink: Colour, cells: int) -> None:
    step = 1 / cells
    for row in range(cells):
        for column in range(row % 2, cells, 2):
            canvas.rectangle(column * step, row * step, (column + 1) * step, (row + 1) * step, ink)


def _dots(canvas: Canvas, ink: Colour, cells: int) -> None:
    step = 1 / cells
    for row in range(cells):
        for column in range(cells):
            canvas.circle((column + 0.5) * step, (row + 0.5) * step, 0.3 * step, ink)


def _shapes(canvas: Canvas, poster: Poster, ink: Colour, rng: random.Random) -> None:
    columns, radius = {1: ((0.5,), 0.34), 2: ((0.28, 0.72), 0.2), 3: ((0.19, 0.5, 0.81), 0.145)}[poster.count]
    for x in columns:
        draw_shape(canvas, poster.shape or "circle", x, 0.5 + rng.uniform(-0.03, 0.03), radius, ink)


def _interface(canvas: Canvas, poster: Poster, ink: Colour, ground: Colour) -> None:
    """A header bar, `count` cards below each other with a line of text each, and a button."""
    card = mix(ground, (128, 128, 136), 0.28)
    line = mix(ground, (128, 128, 136), 0.75)
    canvas.rectangle(0, 0, 1, 0.17, ink)
    height = 0.58 / poster.count
    for row in range(poster.count):
        top = 0.23 + row * height
        canvas.rectangle(0.08, top, 0.92, top + height - 0.05, card)
        canvas.rectangle(0.14, top + 0.04, 0.6, top + 0.075, line)
    canvas.rectangle(0.3, 0.84, 0.7, 0.95, ink)
