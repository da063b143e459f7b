"""Logos: one coloured shape on a plain background, with or without a letter."""

import random
from dataclasses import dataclass

from recipes.scenes.canvas import Canvas
from recipes.scenes.palette import COLOURS, other, shade
from recipes.scenes.shapes import SHAPES, draw_shape

LETTERS: tuple[str, ...] = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


@dataclass(frozen=True)
class Logo:
    """A shape, its colours and perhaps a letter; `seed` places and shades them."""

    shape: str
    colour: str
    background: str
    letter: str | None
    letter_colour: str
    seed: int


def sample_logo(rng: random.Random) -> Logo:
    """Draw the attributes of a logo."""
    background = "white" if rng.random() < 0.2 else rng.choice(COLOURS)
    colour = other(rng, background)
    letter_colour = rng.choice(("white", "black")) if rng.random() < 0.75 else other(rng, colour)
    if letter_colour == colour:
        letter_colour = "white" if colour == "black" else "black"
    letter = rng.choice(LETTERS) if rng.random() < 0.8 else None
    return Logo(rng.choice(SHAPES), colour, background, letter, letter_colour, rng.getrandbits(32))


def draw_logo(logo: Logo, canvas: Canvas, rng: random.Random) -> None:
    """Draw a logo on a canvas that already has the background's colour."""
    x, y, radius = 0.5 + rng.uniform(-0.02, 0.02), 0.5 + rng.uniform(-0.02, 0.02), rng.uniform(0.37, 0.42)
    draw_shape(canvas, logo.shape, x, y, radius, shade(logo.colour, rng))
    if logo.letter is not None:
        lift = {"triangle": 0.22, "heart": -0.12, "star": 0.05, "shield": -0.08}.get(logo.shape, 0.0)
        height = {"triangle": 0.75, "star": 0.72, "diamond": 0.8, "heart": 0.8}.get(logo.shape, 1.0)
        canvas.text(logo.letter, x, y + lift * radius, height * radius, shade(logo.letter_colour, rng))
