"""Landscapes: sky, horizon, water, trees and buildings under a time of day, a season and a weather."""

import random
from dataclasses import dataclass

from recipes.scenes.palette import Colour, mix

TIMES: tuple[str, ...] = ("day", "sunset", "sunrise", "night")
WEATHERS: tuple[str, ...] = ("clear", "cloudy", "rain", "snowfall", "rainbow")
GROUNDS: tuple[str, ...] = ("meadow", "snow", "desert", "autumn")
WATERS: tuple[str, ...] = ("lake", "river", "sea")
RELIEFS: tuple[str, ...] = ("mountains", "snowy mountains", "hills")
TREES: tuple[str, ...] = ("pine", "round", "palm")
BUILDINGS: tuple[str, ...] = ("house", "castle", "city")
SIDES: tuple[str, ...] = ("left", "center", "right")

_SKY: dict[str, tuple[Colour, Colour]] = {
    "day": ((70, 150, 236), (190, 226, 250)),
    "sunset": ((92, 56, 130), (252, 142, 60)),
    "sunrise": ((120, 160, 226), (255, 206, 176)),
    "night": ((10, 14, 46), (40, 48, 100)),
}
_OVERCAST: Colour = (150, 158, 170)
GROUND_COLOURS: dict[str, Colour] = {
    "meadow": (98, 172, 76),
    "snow": (238, 244, 250),
    "desert": (232, 198, 128),
    "autumn": (196, 128, 52),
}
WATER: Colour = (52, 122, 190)
STONE: Colour = (112, 112, 132)
_LIGHT: dict[str, tuple[Colour, float]] = {
    "day": ((255, 255, 255), 0.0),
    "sunset": ((110, 40, 60), 0.3),
    "sunrise": ((255, 190, 170), 0.18),
    "night": ((12, 16, 48), 0.62),
}
LUMINARY_COLOURS: dict[str, Colour] = {
    "day": (255, 222, 74),
    "sunset": (255, 226, 120),
    "sunrise": (255, 246, 200),
    "night": (244, 240, 214),
}


@dataclass(frozen=True)
class Landscape:
    """An outdoor scene; None means that the thing is not there.

    `luminary` is the side of the sun (of the moon at night).
    """

    time: str
    weather: str
    ground: str
    luminary: str | None
    relief: str | None
    water: str | None
    trees: str | None
    building: str | None
    boat: bool
    birds: bool
    seed: int


def sample_landscape(rng: random.Random) -> Landscape:
    """Draw the attributes of a landscape; impossible pairs (a rainbow at night, a boat ashore) do not occur."""
    time = rng.choices(TIMES, (5, 4, 2, 4))[0]
    weather = rng.choices(WEATHERS if time == "day" else WEATHERS[:4], (8, 3, 2, 2, 2)[: 5 if time == "day" else 4])[0]
    ground = rng.choices(GROUNDS, (6, 3, 2, 3))[0]
    water = rng.choice(WATERS) if rng.random() < 0.5 else None
    open_sky = weather == "clear" or (weather == "cloudy" and rng.random() < 0.4)
    return Landscape(
        time=time,
        weather=weather,
        ground=ground,
        luminary=rng.choice(SIDES) if open_sky and rng.random() < 0.85 else None,
        relief=rng.choices(RELIEFS, (3, 4, 3))[0] if rng.random() < 0.65 else None,
        water=water,
        trees=_trees(ground, rng) if rng.random() < 0.55 else None,
        building=rng.choice(BUILDINGS) if rng.random() < 0.3 else None,
        boat=water in ("lake", "sea") and rng.random() < 0.3,
        birds=time != "night" and rng.random() < 0.12,
        seed=rng.getrandbits(32),
    )


def _trees(ground: str, rng: random.Random) -> str:
    return rng.choices(TREES, {"desert": (1, 1, 6), "snow": (6, 3, 0)}.get(ground, (4, 4, 2)))[0]


def lit(time: str, colour: Colour) -> Colour:
    """A thing's colour in the light of a time of day."""
    tint, share = _LIGHT[time]
    return mix(colour, tint, share)


def sky_colours() -> dict[tuple[str, bool], tuple[Colour, Colour]]:
    """All skies by time of day and whether it is overcast."""
    return {(time, overcast): sky_of(time, overcast) for time in TIMES for overcast in (False, True)}


def sky_of(time: str, overcast: bool) -> tuple[Colour, Colour]:
    """The sky's upper and lower colour."""
    top, bottom = _SKY[time]
    if not overcast:
        return top, bottom
    gray, share = (mix(_OVERCAST, (24, 26, 44), 0.7), 0.35) if time == "night" else (_OVERCAST, 0.55)
    return mix(top, gray, share), mix(bottom, gray, share)
