"""Portraits: head and shoulders of a person on a plain background."""

import random
from dataclasses import dataclass

from recipes.scenes.canvas import Canvas
from recipes.scenes.palette import COLOURS, PALETTE, Colour, mix, shade

HAIR: dict[str, Colour] = {
    "black": (34, 28, 32),
    "brown": (110, 66, 36),
    "blonde": (240, 208, 96),
    "red": (196, 66, 26),
    "gray": (168, 168, 172),
    "blue": (50, 96, 206),
    "pink": (236, 112, 172),
}
SKIN: dict[str, Colour] = {"light": (250, 214, 186), "tan": (222, 168, 122), "dark": (140, 88, 58)}
STYLES: tuple[str, ...] = ("short", "long", "curly", "bald")
EXPRESSIONS: tuple[str, ...] = ("smiling", "neutral", "sad", "surprised")
EYEWEAR: tuple[str, ...] = ("glasses", "sunglasses")


@dataclass(frozen=True)
class Portrait:
    """A person; `hat` is its colour or None, `eyewear` one of EYEWEAR or None."""

    person: str
    hair: str
    style: str
    skin: str
    clothes: str
    background: str
    expression: str
    eyewear: str | None
    hat: str | None
    beard: bool
    seed: int


def sample_portrait(rng: random.Random) -> Portrait:
    """Draw the attributes of a portrait."""
    person = rng.choice(("man", "woman"))
    background = rng.choice(COLOURS)
    style = rng.choices(("short", "curly", "bald"), (6, 2, 1))[0] if person == "man" else _womans_style(rng)
    hair = rng.choices(tuple(HAIR), (5, 5, 5, 5, 3, 2, 2))[0]
    return Portrait(
        person=person,
        hair=hair,
        style=style,
        skin=rng.choice(tuple(SKIN)),
        clothes=rng.choice([name for name in COLOURS if name != background]),
        background=background,
        expression=rng.choices(EXPRESSIONS, (5, 2, 2, 2))[0],
        eyewear=rng.choices((None, *EYEWEAR), (6, 4, 2))[0],
        hat=rng.choice([name for name in COLOURS if name != background]) if rng.random() < 0.3 else None,
        beard=person == "man" and rng.random() < 0.35,
        seed=rng.getrandbits(32),
    )


def _womans_style(rng: random.Random) -> str:
    return rng.choices(("long", "short", "curly"), (6, 2, 2))[0]


def draw_portrait(portrait: Portrait, canvas: Canvas, rng: random.Random) -> None:
    """Draw a portrait on a canvas that already has the background's colour."""
    x = 0.5 + rng.uniform(-0.02, 0.02)
    skin = _near(SKIN[portrait.skin], rng)
    hair = _near(HAIR[portrait.hair], rng)
    _back_hair(canvas, portrait, x, hair)
    _body(canvas, x, shade(portrait.clothes, rng), skin)
    canvas.ellipse(x, 0.46, 0.185, 0.225, skin)
    if portrait.beard:
        canvas.ellipse(x, 0.5, 0.185, 0.205, hair, (0, 180))
        canvas.ellipse(x, 0.5, 0.15, 0.05, skin, (0, 180))
    _front_hair(canvas, portrait, x, hair)
    _face(canvas, portrait, x, skin)
    if portrait.hat is not None:
        _hat(canvas, x, shade(portrait.hat, rng))


def _near(colour: Colour, rng: random.Random) -> Colour:
    return mix(colour, (255, 255, 255) if rng.random() < 0.5 else (0, 0, 0), rng.uniform(0, 0.05))


def _body(canvas: Canvas, x: float, clothes: Colour, skin: Colour) -> None:
    canvas.ellipse(x, 1.02, 0.36, 0.28, clothes)
    canvas.rectangle(x - 0.07, 0.6, x + 0.07, 0.76, mix(skin, (0, 0, 0), 0.1))
    canvas.ellipse(x, 0.76, 0.09, 0.045, mix(skin, (0, 0, 0), 0.1))


def _back_hair(canvas: Canvas, portrait: Portrait, x: float, hair: Colour) -> None:
    if portrait.style == "long":
        canvas.ellipse(x, 0.42, 0.25, 0.26, hair)
        canvas.rectangle(x - 0.25, 0.42, x + 0.25, 0.82, hair)
    elif portrait.style == "curly":
        for dx, dy in _CURLS:
            canvas.circle(x + dx, 0.4 + dy, 0.1, hair)


def _front_hair(canvas: Canvas, portrait: Portrait, x: float, hair: Colour) -> None:
    if portrait.style == "bald":
        return
    canvas.ellipse(x, 0.4, 0.2, 0.19, hair, (180, 360))
    if portrait.style == "long":
        canvas.polygon([(x - 0.21, 0.38), (x + 0.02, 0.3), (x - 0.16, 0.52), (x - 0.2, 0.6)], hair)
        canvas.polygon([(x + 0.21, 0.38), (x - 0.02, 0.3), (x + 0.16, 0.52), (x + 0.2, 0.6)], hair)
    elif portrait.style == "curly":
        for step in range(5):
            canvas.circle(x - 0.16 + 0.08 * step, 0.34, 0.065, hair)


_CURLS = ((-0.2, -0.06), (-0.22, 0.08), (-0.14, -0.16), (0.0, -0.2), (0.14, -0.16), (0.2, -0.06), (0.22, 0.08))


def _face(canvas: Canvas, portrait: Portrait, x: float, skin: Colour) -> None:
    ink: Colour = (36, 26, 28)
    for side in (-1, 1):
        centre = x + side * 0.078
        if portrait.eyewear == "sunglasses":
            canvas.ellipse(centre, 0.465, 0.072, 0.052, ink)
        else:
            canvas.circle(centre, 0.465, 0.033, PALETTE["white"])
            canvas.circle(centre, 0.465, 0.019, ink)
        if portrait.eyewear == "glasses":
            canvas.arc(centre, 0.465, 0.062, 0.056, (0, 360), 0.016, ink)
    if portrait.eyewear is not None:
        canvas.line([(x - 0.02, 0.46), (x + 0.02, 0.46)], 0.016, ink)
    canvas.line([(x, 0.5), (x, 0.545)], 0.014, mix(skin, (0, 0, 0), 0.28))
    _mouth(canvas, portrait.expression, x)


def _mouth(canvas: Canvas, expression: str, x: float) -> None:
    lips: Colour = (168, 42, 50)
    if expression == "smiling":
        canvas.ellipse(x, 0.575, 0.085, 0.07, lips, (0, 180))
        canvas.rectangle(x - 0.055, 0.578, x + 0.055, 0.596, PALETTE["white"])
    elif expression == "neutral":
        canvas.line([(x - 0.06, 0.6), (x + 0.06, 0.6)], 0.02, lips)
    elif expression == "sad":
        canvas.arc(x, 0.635, 0.065, 0.045, (180, 360), 0.02, lips)
    else:
        canvas.ellipse(x, 0.605, 0.035, 0.045, lips)


def _hat(canvas: Canvas, x: float, colour: Colour) -> None:
    canvas.ellipse(x, 0.31, 0.19, 0.2, colour, (180, 360))
    canvas.rectangle(x - 0.27, 0.3, x + 0.27, 0.345, mix(colour, (0, 0, 0), 0.12))
