"""Drawing landscapes, from back to front."""

import random

from recipes.scenes.canvas import Canvas, Point
from recipes.scenes.landscape import GROUND_COLOURS, LUMINARY_COLOURS, STONE, WATER, Landscape, lit, sky_of
from recipes.scenes.palette import Colour, mix

_COLUMN = {"left": 0.2, "center": 0.5, "right": 0.8}


def draw_landscape(scene: Landscape, canvas: Canvas, rng: random.Random) -> None:
    """Draw a landscape from back to front."""
    horizon = 0.6 + rng.uniform(-0.03, 0.03)
    _sky(scene, canvas, rng, horizon)
    _relief(scene, canvas, rng, horizon)
    if scene.building == "city":
        _city(scene, canvas, rng, horizon)
    _land(scene, canvas, rng, horizon)
    if scene.building in ("house", "castle"):
        _building(scene, canvas, rng, horizon)
    _plants(scene, canvas, rng, horizon)
    if scene.boat:
        _boat(canvas, 0.5 + rng.uniform(-0.12, 0.12), horizon + 0.17)
    if scene.weather in ("rain", "snowfall"):
        _fall(scene, canvas, rng)


def _sky(scene: Landscape, canvas: Canvas, rng: random.Random, horizon: float) -> None:
    top, bottom = sky_of(scene.time, scene.weather in ("cloudy", "rain", "snowfall"))
    canvas.gradient(top, bottom, until=horizon)
    if scene.time == "night" and scene.weather == "clear":
        for _ in range(26):
            canvas.circle(rng.random(), rng.uniform(0.02, 0.45), rng.uniform(0.005, 0.01), (240, 240, 220))
    if scene.weather == "rainbow":
        _rainbow(canvas, horizon)
    if scene.luminary is not None:
        _luminary(scene, canvas, rng, (top, bottom))
    if scene.weather in ("cloudy", "rain"):
        _clouds(scene, canvas, rng)
    if scene.birds:
        for _ in range(4):
            _bird(canvas, rng.uniform(0.1, 0.9), rng.uniform(0.08, 0.3))


def _rainbow(canvas: Canvas, horizon: float) -> None:
    bands = ((222, 44, 48), (248, 134, 30), (252, 214, 58), (56, 160, 70), (40, 100, 216), (128, 58, 184))
    for step, colour in enumerate(bands):
        canvas.arc(0.5, horizon, 0.46 - 0.024 * step, 0.46 - 0.024 * step, (180, 360), 0.028, colour)


def _luminary(scene: Landscape, canvas: Canvas, rng: random.Random, sky: tuple[Colour, Colour]) -> None:
    x = _COLUMN[scene.luminary or "center"] + rng.uniform(-0.04, 0.04)
    if scene.time == "night":
        y = rng.uniform(0.15, 0.21)
        canvas.circle(x, y, 0.085, LUMINARY_COLOURS["night"])
        if rng.random() < 0.4:
            canvas.circle(x + 0.04, y - 0.02, 0.07, mix(*sky, 0.3))
    elif scene.time == "day":
        canvas.circle(x, rng.uniform(0.15, 0.2), 0.085, LUMINARY_COLOURS["day"])
    else:
        y = rng.uniform(0.36, 0.4)
        core = LUMINARY_COLOURS[scene.time]
        canvas.circle(x, y, 0.13, mix(core, sky[1], 0.6))
        canvas.circle(x, y, 0.1, core)


def _clouds(scene: Landscape, canvas: Canvas, rng: random.Random) -> None:
    bright: Colour = (250, 250, 252) if scene.weather == "cloudy" else (96, 102, 116)
    colour = mix(lit(scene.time, bright), bright, 0.45)
    for column in (0.2, 0.55, 0.86):
        x, y = column + rng.uniform(-0.06, 0.06), rng.uniform(0.07, 0.2)
        canvas.ellipse(x, y, 0.13, 0.04, colour)
        canvas.circle(x - 0.05, y - 0.02, 0.05, colour)
        canvas.circle(x + 0.035, y - 0.03, 0.062, colour)


def _bird(canvas: Canvas, x: float, y: float) -> None:
    canvas.line([(x - 0.04, y - 0.015), (x, y + 0.012), (x + 0.04, y - 0.015)], 0.012, (30, 30, 40))


def _relief(scene: Landscape, canvas: Canvas, rng: random.Random, horizon: float) -> None:
    if scene.relief == "hills":
        base = GROUND_COLOURS[scene.ground]
        colour = lit(scene.time, mix(base, (40, 70, 90), 0.3))
        for x, height in ((0.15, 0.13), (0.8, 0.16), (0.48, 0.1)):
            canvas.ellipse(x + rng.uniform(-0.05, 0.05), horizon + 0.02, 0.36, height, colour, (180, 360))
            colour = mix(colour, lit(scene.time, base), 0.3)
    elif scene.relief is not None:
        for x in _peaks(scene.luminary if scene.time in ("sunset", "sunrise") else None):
            peak = (x + rng.uniform(-0.04, 0.04), horizon - rng.uniform(0.23, 0.33))
            _mountain(scene, canvas, peak, horizon)


def _peaks(kept_free: str | None) -> tuple[float, ...]:
    """Where the peaks stand, so that they do not cover a low sun."""
    return {"left": (0.52, 0.92, 0.74), "center": (0.1, 0.9), "right": (0.08, 0.48, 0.26)}.get(
        kept_free or "", (0.15, 0.85, 0.5)
    )


def _mountain(scene: Landscape, canvas: Canvas, peak: Point, horizon: float) -> None:
    x, top = peak
    height = horizon + 0.02 - top
    half = height * 1.0
    colour = lit(scene.time, STONE)
    canvas.polygon([(x, top), (x + half, top + height), (x - half, top + height)], colour)
    canvas.polygon([(x, top), (x + half, top + height), (x + 0.1 * half, top + height)], mix(colour, (0, 0, 0), 0.15))
    if scene.relief == "snowy mountains":
        cap = 0.36
        snow = lit(scene.time, (246, 248, 252))
        left, right = (x - cap * half, top + cap * height), (x + cap * half, top + cap * height)
        middle = [
            (x + 0.16 * half, top + 0.28 * height),
            (x, top + 0.42 * height),
            (x - 0.16 * half, top + 0.28 * height),
        ]
        canvas.polygon([(x, top), right, *middle, left], snow)


def _city(scene: Landscape, canvas: Canvas, rng: random.Random, horizon: float) -> None:
    x = 0.06
    while x < 0.92:
        width, top = rng.uniform(0.08, 0.13), horizon - rng.uniform(0.14, 0.36)
        canvas.rectangle(
            x,
            top,
            x + width,
            horizon + 0.02,
            lit(scene.time, rng.choice(((86, 92, 116), (112, 104, 124), (70, 80, 104)))),
        )
        pane: Colour = (252, 220, 120) if scene.time in ("night", "sunset") else (196, 214, 230)
        for row in range(int((horizon - top) / 0.06)):
            for column in (0.28, 0.72):
                left = x + column * width - 0.012
                canvas.rectangle(left, top + 0.03 + row * 0.06, left + 0.024, top + 0.055 + row * 0.06, pane)
        x += width + 0.012


def _land(scene: Landscape, canvas: Canvas, rng: random.Random, horizon: float) -> None:
    base = lit(scene.time, GROUND_COLOURS[scene.ground])
    water = lit(scene.time, WATER)
    if scene.water == "sea":
        canvas.rectangle(0, horizon, 1, 1, water)
        _waves(canvas, rng, water, (horizon + 0.05, 0.84))
        canvas.polygon([(0, 0.9), (0.35, 0.87), (0.7, 0.9), (1, 0.88), (1, 1), (0, 1)], base)
        return
    canvas.rectangle(0, horizon, 1, 1, base)
    canvas.ellipse(0.25, 1.0, 0.6, 0.2, mix(base, (0, 0, 0), 0.06))
    if scene.water == "lake":
        x, y = 0.5 + rng.uniform(-0.05, 0.05), horizon + 0.17
        canvas.ellipse(x, y, 0.42, 0.115, mix(base, (90, 70, 50), 0.35))
        canvas.ellipse(x, y, 0.4, 0.1, water)
        _waves(canvas, rng, water, (y - 0.05, y + 0.05), (x - 0.22, x + 0.22))
    elif scene.water == "river":
        bend = rng.uniform(-0.1, 0.1)
        right = [(0.53, horizon), (0.6 + bend, horizon + 0.12), (0.62, horizon + 0.22), (0.85, 1.0)]
        left = [(0.35, 1.0), (0.42, horizon + 0.22), (0.5 + bend, horizon + 0.12), (0.49, horizon)]
        canvas.polygon([*right, *left], water)


def _waves(
    canvas: Canvas,
    rng: random.Random,
    water: Colour,
    rows: tuple[float, float],
    columns: tuple[float, float] = (0.1, 0.9),
) -> None:
    for _ in range(6):
        x, y = rng.uniform(*columns), rng.uniform(*rows)
        canvas.line([(x - 0.05, y), (x + 0.05, y)], 0.012, mix(water, (255, 255, 255), 0.3))


def _building(scene: Landscape, canvas: Canvas, rng: random.Random, horizon: float) -> None:
    x, y = rng.choice((0.24, 0.76)) + rng.uniform(-0.04, 0.04), horizon + 0.06
    pane: Colour = (255, 222, 110) if scene.time in ("night", "sunset") else (96, 140, 176)
    if scene.building == "house":
        canvas.rectangle(x - 0.11, y - 0.14, x + 0.11, y, lit(scene.time, (244, 228, 200)))
        canvas.polygon([(x - 0.15, y - 0.13), (x, y - 0.26), (x + 0.15, y - 0.13)], lit(scene.time, (200, 58, 48)))
        canvas.rectangle(x - 0.03, y - 0.085, x + 0.03, y, lit(scene.time, (120, 76, 44)))
        for side in (-0.07, 0.07):
            canvas.rectangle(x + side - 0.022, y - 0.105, x + side + 0.022, y - 0.06, pane)
        return
    stone = lit(scene.time, (184, 176, 186))
    canvas.rectangle(x - 0.13, y - 0.16, x + 0.13, y, stone)
    for side, height in ((-0.13, 0.25), (0.13, 0.25), (0.0, 0.32)):
        canvas.rectangle(x + side - 0.045, y - height, x + side + 0.045, y, mix(stone, (0, 0, 0), 0.08))
        roof = [(x + side - 0.06, y - height), (x + side, y - height - 0.11), (x + side + 0.06, y - height)]
        canvas.polygon(roof, lit(scene.time, (86, 84, 160)))
        canvas.rectangle(x + side - 0.014, y - height + 0.04, x + side + 0.014, y - height + 0.09, pane)
    canvas.rectangle(x - 0.03, y - 0.08, x + 0.03, y, lit(scene.time, (84, 56, 44)))


def _plants(scene: Landscape, canvas: Canvas, rng: random.Random, horizon: float) -> None:
    if scene.trees is None:
        return
    for column in rng.sample((0.08, 0.24, 0.4, 0.62, 0.78, 0.93), rng.randint(2, 4)):
        near = rng.uniform(0.0, 1.0) if scene.water is None else rng.choice((0.0, 1.0))
        foot = horizon + 0.07 + 0.26 * near
        height = 0.2 + 0.1 * near
        _tree(scene, canvas, (column + rng.uniform(-0.03, 0.03), foot), height)


def _tree(scene: Landscape, canvas: Canvas, foot: Point, height: float) -> None:
    x, y = foot
    bark = lit(scene.time, (110, 72, 42))
    if scene.trees == "palm":
        canvas.line([(x, y), (x + 0.1 * height, y - 0.5 * height), (x + 0.04 * height, y - height)], 0.024, bark)
        leaf = lit(scene.time, (48, 140, 62))
        for dx, dy in ((-0.42, -0.02), (-0.28, -0.2), (0.3, -0.2), (0.44, -0.02), (-0.3, 0.14), (0.34, 0.14)):
            tip = (x + (0.04 + dx) * height, y - height + dy * height)
            canvas.line([(x + 0.04 * height, y - height), tip], 0.024, leaf)
        return
    canvas.rectangle(x - 0.014, y - 0.4 * height, x + 0.014, y, bark)
    if scene.trees == "pine":
        leaf = lit(scene.time, (28, 96, 62))
        for level in range(3):
            base, half = y - (0.18 + 0.24 * level) * height, (0.3 - 0.07 * level) * height
            canvas.polygon([(x - half, base), (x, base - 0.4 * height), (x + half, base)], leaf)
    else:
        leaf = lit(scene.time, (216, 92, 30) if scene.ground == "autumn" else (70, 148, 58))
        canvas.circle(x, y - 0.66 * height, 0.33 * height, leaf)
        canvas.circle(x - 0.08 * height, y - 0.74 * height, 0.17 * height, mix(leaf, (255, 255, 255), 0.15))


def _boat(canvas: Canvas, x: float, y: float) -> None:
    canvas.polygon(
        [(x - 0.1, y - 0.01), (x + 0.1, y - 0.01), (x + 0.06, y + 0.045), (x - 0.06, y + 0.045)], (150, 60, 40)
    )
    canvas.rectangle(x - 0.006, y - 0.16, x + 0.006, y, (90, 60, 44))
    canvas.polygon([(x + 0.012, y - 0.16), (x + 0.09, y - 0.03), (x + 0.012, y - 0.03)], (250, 250, 246))


def _fall(scene: Landscape, canvas: Canvas, rng: random.Random) -> None:
    for _ in range(34):
        x, y = rng.random(), rng.random()
        if scene.weather == "rain":
            canvas.line([(x, y), (x - 0.018, y + 0.06)], 0.009, (176, 200, 226))
        else:
            canvas.circle(x, y, rng.uniform(0.009, 0.015), (252, 252, 255))
