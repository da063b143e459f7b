"""Reading landscapes."""

from collections.abc import Mapping

import numpy as np

from recipes.scenes.canvas import SIZE, Picture
from recipes.scenes.landscape import GROUND_COLOURS, LUMINARY_COLOURS, STONE, WATER, Landscape, lit, sky_colours
from recipes.scenes.palette import Colour, mix
from recipes.scenes.reading.pixels import Mask, blobs, closest, distance, median, nearest, patch

_SNOW_CAP: Colour = (246, 248, 252)
_HULL: Colour = (150, 60, 40)


def landscape_verdicts(scene: Landscape, picture: Picture) -> dict[str, bool]:
    """Time of day, ground and water; sun or moon, relief, rainbow, boat and building where there is one."""
    found = {"time of day": _time(picture) == scene.time, "ground": _ground(picture, scene.time) == scene.ground}
    if scene.luminary is not None:
        found["moon" if scene.time == "night" else "sun"] = _luminary(picture, scene.time) == scene.luminary
    found["water" if scene.water else "no water"] = _water(picture, scene) == (scene.water or "none")
    if scene.relief in ("mountains", "snowy mountains") and scene.building is None:
        found["mountains"] = _relief(picture, scene.time) == scene.relief
    if scene.weather == "rainbow":
        found["rainbow"] = _rainbow(picture)
    if scene.boat and scene.weather not in ("rain", "snowfall"):
        found["boat"] = float((distance(picture[SIZE // 2 :], _HULL) < 45).mean()) > 0.004
    if scene.building in ("house", "castle"):
        found["building"] = _building(picture, scene.time) == scene.building
    return found


def _time(picture: Picture) -> str:
    """The time whose sky, clear or overcast, is closest at the upper edge and above the horizon."""
    top, low = patch(picture, 0, 0, 1, 0.04), patch(picture, 0, 0.28, 1, 0.32)
    skies = sky_colours()

    def misfit(key: tuple[str, bool]) -> float:
        upper, lower = skies[key]
        middle = np.asarray(upper) + (np.asarray(lower) - np.asarray(upper)) * 0.5
        return float(np.abs(np.asarray(top) - np.asarray(upper)).sum() + np.abs(np.asarray(low) - middle).sum())

    return min(skies, key=misfit)[0]


def _lit(table: Mapping[str, Colour], time: str) -> dict[str, Colour]:
    return {name: lit(time, colour) for name, colour in table.items()}


def _ground(picture: Picture, time: str) -> str:
    bottom = picture[round(0.95 * SIZE) :]
    sides = np.concatenate([bottom[:, : SIZE // 3].reshape(-1, 3), bottom[:, -SIZE // 8 :].reshape(-1, 3)])
    return nearest(median(sides), _lit(GROUND_COLOURS, time))


def _luminary(picture: Picture, time: str) -> str:
    """Which third of the sky holds the largest region of the sun's or the moon's colour."""
    sky = distance(picture[: SIZE // 2], LUMINARY_COLOURS[time]) < 42
    found = blobs(sky, smallest=25)
    return ("left", "center", "right")[min(2, int(found[0].x * 3))] if found else "none"


def _water(picture: Picture, scene: Landscape) -> str:
    """By how much of the middle distance and of the foreground is water rather than ground."""
    table = {"water": lit(scene.time, WATER), "ground": lit(scene.time, GROUND_COLOURS[scene.ground])}
    wet: Mask = closest(picture, table)["water"]
    middle = float(wet[round(0.72 * SIZE) : round(0.8 * SIZE)].mean())
    edges = float(
        np.concatenate(
            [wet[round(0.68 * SIZE) : round(0.84 * SIZE), :3], wet[round(0.68 * SIZE) : round(0.84 * SIZE), -3:]]
        ).mean()
    )
    stream = float(wet[round(0.93 * SIZE) :, round(0.45 * SIZE) : round(0.7 * SIZE)].mean())
    if edges > 0.6:
        return "sea"
    if stream > 0.6:
        return "river"
    return "lake" if middle > 0.4 else "none"


def _relief(picture: Picture, time: str) -> str:
    """Stone in the strip above the horizon, with or without white tops."""
    strip = picture[round(0.26 * SIZE) : round(0.54 * SIZE)]
    stone = lit(time, STONE)
    shadow = (round(stone[0] * 0.85), round(stone[1] * 0.85), round(stone[2] * 0.85))
    rock = (distance(strip, stone) < 26) | (distance(strip, shadow) < 26)
    if rock.mean() < 0.08:
        return "none"
    caps = distance(strip, lit(time, _SNOW_CAP)) < 34
    return "snowy mountains" if caps.mean() > 0.012 else "mountains"


def _rainbow(picture: Picture) -> bool:
    sky = picture[: round(0.55 * SIZE)]
    bands = ((222, 44, 48), (252, 214, 58), (56, 160, 70))
    return all(float((distance(sky, band) < 70).mean()) > 0.008 for band in bands)


def _building(picture: Picture, time: str) -> str:
    """A house by its red roof, a castle by its gray towers."""
    middle = picture[round(0.3 * SIZE) : round(0.68 * SIZE)]
    red = (distance(middle, lit(time, (200, 58, 48))) < 36).mean()
    wall = (distance(middle, mix(lit(time, (184, 176, 186)), (0, 0, 0), 0.08)) < 16).mean()
    return "house" if red > 0.008 else "castle" if wall > 0.014 else "none"
