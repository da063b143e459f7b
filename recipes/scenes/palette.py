"""The named colours of the scenes and the small arithmetic on them."""

import random

Colour = tuple[int, int, int]
"""Red, green and blue in 0..255."""

PALETTE: dict[str, Colour] = {
    "red": (222, 44, 48),
    "orange": (248, 134, 30),
    "yellow": (252, 214, 58),
    "green": (56, 160, 70),
    "teal": (36, 168, 168),
    "blue": (40, 100, 216),
    "purple": (128, 58, 184),
    "pink": (242, 140, 184),
    "brown": (128, 82, 46),
    "black": (26, 24, 30),
    "white": (246, 246, 246),
    "gray": (142, 142, 148),
}

COLOURS: tuple[str, ...] = tuple(PALETTE)


def shade(name: str, rng: random.Random, spread: int = 6) -> Colour:
    """The palette colour `name`, moved by at most `spread` levels in each channel."""
    red, green, blue = PALETTE[name]
    return (
        _clip(red + rng.randint(-spread, spread)),
        _clip(green + rng.randint(-spread, spread)),
        _clip(blue + rng.randint(-spread, spread)),
    )


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """The blend of two colours with `share` (0..1) of the second."""
    return (
        round(first[0] + (second[0] - first[0]) * share),
        round(first[1] + (second[1] - first[1]) * share),
        round(first[2] + (second[2] - first[2]) * share),
    )


def other(rng: random.Random, *taken: str) -> str:
    """A palette colour that is none of `taken` and that the eye tells apart from each of them."""
    return rng.choice([name for name in COLOURS if all(distinct(name, used) for used in taken)])


def distinct(first: str, second: str) -> bool:
    """Whether two palette colours are far enough apart to be seen side by side."""
    return sum((a - b) ** 2 for a, b in zip(PALETTE[first], PALETTE[second], strict=True)) > 90**2


def _clip(level: int) -> int:
    return max(0, min(255, level))
