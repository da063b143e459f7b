"""The judges: right on the generator's own pictures, and not fooled by other ones."""

from dataclasses import replace

import numpy as np
import pytest

from recipes.scenes.canvas import SIZE, Picture
from recipes.scenes.landscape import Landscape
from recipes.scenes.logo import Logo
from recipes.scenes.portrait import Portrait
from recipes.scenes.poster import Poster
from recipes.scenes.reading import verdicts
from recipes.scenes.reading.pixels import blobs, filled, nearest
from recipes.scenes.scene import FIELDS, Scene, draw, sample

LANDSCAPE = Landscape("day", "clear", "meadow", "left", "snowy mountains", "lake", None, None, False, False, seed=3)
PORTRAIT = Portrait("woman", "red", "long", "light", "blue", "white", "smiling", "glasses", None, False, seed=3)
LOGO = Logo("star", "red", "white", "A", "black", seed=3)
STRIPES = Poster("stripes", "red", "white", "vertical", None, 0, None, seed=3)


@pytest.mark.parametrize("field", FIELDS)
def test_the_generators_pictures_are_read_right(field: str) -> None:
    scenes = [sample(5_000 + seed, field) for seed in range(150)]
    shown = [value for scene in scenes for value in verdicts(scene, draw(scene)).values()]
    assert sum(shown) / len(shown) > 0.985


@pytest.mark.parametrize(
    ("scene", "drawn", "wrong"),
    [
        (LANDSCAPE, replace(LANDSCAPE, time="night"), "time of day"),
        (LANDSCAPE, replace(LANDSCAPE, ground="desert"), "ground"),
        (LANDSCAPE, replace(LANDSCAPE, luminary="right"), "sun"),
        (LANDSCAPE, replace(LANDSCAPE, luminary=None), "sun"),
        (LANDSCAPE, replace(LANDSCAPE, water="sea"), "water"),
        (LANDSCAPE, replace(LANDSCAPE, water=None), "water"),
        (LANDSCAPE, replace(LANDSCAPE, relief="mountains"), "mountains"),
        (LANDSCAPE, replace(LANDSCAPE, relief=None), "mountains"),
        (PORTRAIT, replace(PORTRAIT, hair="black"), "hair"),
        (PORTRAIT, replace(PORTRAIT, style="short"), "hair style"),
        (PORTRAIT, replace(PORTRAIT, skin="dark"), "skin"),
        (PORTRAIT, replace(PORTRAIT, clothes="green"), "clothes"),
        (PORTRAIT, replace(PORTRAIT, background="teal"), "background"),
        (PORTRAIT, replace(PORTRAIT, eyewear=None), "eyewear"),
        (PORTRAIT, replace(PORTRAIT, expression="sad"), "expression"),
        (LOGO, replace(LOGO, shape="circle"), "shape"),
        (LOGO, replace(LOGO, colour="blue"), "shape colour"),
        (LOGO, replace(LOGO, background="yellow"), "background"),
        (LOGO, replace(LOGO, letter="B"), "letter"),
        (LOGO, replace(LOGO, letter=None), "letter"),
        (LOGO, replace(LOGO, letter_colour="white"), "letter colour"),
        (STRIPES, replace(STRIPES, direction="horizontal"), "pattern"),
        (STRIPES, replace(STRIPES, direction="diagonal"), "pattern"),
        (STRIPES, replace(STRIPES, layout="checkers"), "pattern"),
        (STRIPES, replace(STRIPES, colour="green"), "colours"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_attribute_is_noticed(scene: Scene, drawn: Scene, wrong: str) -> None:
    assert verdicts(scene, draw(scene))[wrong]
    assert not verdicts(scene, draw(drawn))[wrong]


@pytest.mark.parametrize("field", FIELDS)
def test_noise_shows_little(field: str) -> None:
    noise: Picture = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    shown = [value for seed in range(40) for value in verdicts(sample(seed, field), noise).values()]
    assert sum(shown) / len(shown) < 0.4


@pytest.mark.parametrize("field", FIELDS)
def test_an_empty_picture_is_judged_without_error(field: str) -> None:
    black: Picture = np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
    assert not all(verdicts(sample(11, field), black).values())


def test_the_nearest_palette_colour_wins() -> None:
    assert nearest((230, 40, 40)) == "red"


def test_blobs_come_largest_first() -> None:
    mask = np.zeros((SIZE, SIZE), bool)
    mask[2:4, 2:4] = True
    mask[20:40, 60:80] = True
    found = blobs(mask)
    assert [blob.area for blob in found] == [400, 4]
    assert found[0].x == pytest.approx(69.5 / SIZE)


def test_holes_are_filled() -> None:
    mask = np.ones((20, 20), bool)
    mask[0], mask[8:12, 8:12] = False, False
    assert filled(mask)[10, 10]
