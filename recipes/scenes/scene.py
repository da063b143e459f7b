"""A scene of any field: sampled from a seed, drawn to a picture."""

import random
import zlib
from collections.abc import Callable
from dataclasses import replace

from recipes.scenes.canvas import Canvas, Picture
from recipes.scenes.landscape import Landscape, sample_landscape
from recipes.scenes.landscape_drawing import draw_landscape
from recipes.scenes.logo import Logo, draw_logo, sample_logo
from recipes.scenes.palette import shade
from recipes.scenes.portrait import Portrait, draw_portrait, sample_portrait
from recipes.scenes.poster import Poster, draw_poster, sample_poster

Scene = Landscape | Portrait | Poster | Logo

FIELDS: tuple[str, ...] = ("landscape", "portrait", "poster", "logo")
_SAMPLERS: dict[str, Callable[[random.Random], Scene]] = {
    "landscape": sample_landscape,
    "portrait": sample_portrait,
    "poster": sample_poster,
    "logo": sample_logo,
}
_HELD_OUT_SHARE = 16


def sample(seed: int, field: str | None = None) -> Scene:
    """The scene of `seed`, in `field` (one of FIELDS) or in a field that the seed chooses."""
    rng = random.Random(seed)
    return _SAMPLERS[field or rng.choice(FIELDS)](rng)


def field_of(scene: Scene) -> str:
    """Which of FIELDS the scene belongs to."""
    return type(scene).__name__.lower()


def draw(scene: Scene) -> Picture:
    """The picture of a scene, [SIZE, SIZE, 3] RGB; the same bytes for the same scene."""
    rng = random.Random(scene.seed)
    if isinstance(scene, Landscape):
        canvas = Canvas((0, 0, 0))
        draw_landscape(scene, canvas, rng)
        return canvas.finish()
    ground = shade(scene.background, rng)
    canvas = Canvas(ground)
    if isinstance(scene, Portrait):
        draw_portrait(scene, canvas, rng)
    elif isinstance(scene, Poster):
        draw_poster(scene, canvas, rng, ground)
    else:
        draw_logo(scene, canvas, rng)
    return canvas.finish()


def is_held_out(scene: Scene) -> bool:
    """Whether this combination of attributes is kept from training, for evaluation (one in 16)."""
    return zlib.crc32(repr(replace(scene, seed=0)).encode()) % _HELD_OUT_SHARE == 0
