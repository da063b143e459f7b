"""Captions: many phrasings, which mention only what is drawn."""

import random
import re

from hypothesis import given
from hypothesis import strategies as st

from recipes.scenes.captions import caption
from recipes.scenes.captions.voice import article, listing
from recipes.scenes.landscape import Landscape
from recipes.scenes.logo import Logo
from recipes.scenes.palette import COLOURS
from recipes.scenes.portrait import Portrait
from recipes.scenes.poster import Poster
from recipes.scenes.scene import Scene, sample

SEEDS = st.integers(0, 2**40)
SYNONYMS = {"grey": "gray", "turquoise": "teal", "cyan": "teal", "violet": "purple"}


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z-]+", text.lower()))


def spoken(scene: Scene, seed: int) -> set[str]:
    return words(caption(scene, random.Random(seed)))


def colours_named(text: str) -> set[str]:
    return {SYNONYMS.get(word, word) for word in words(text) if SYNONYMS.get(word, word) in COLOURS}


@given(seed=SEEDS, voice=SEEDS)
def test_a_caption_is_fixed_by_its_seed(seed: int, voice: int) -> None:
    scene = sample(seed)
    assert caption(scene, random.Random(voice)) == caption(scene, random.Random(voice))


def test_one_scene_is_told_in_many_ways() -> None:
    scene = sample(3, "portrait")
    assert len({caption(scene, random.Random(seed)) for seed in range(200)}) > 150


@given(seed=SEEDS, voice=SEEDS)
def test_captions_are_short_and_clean(seed: int, voice: int) -> None:
    text = caption(sample(seed), random.Random(voice))
    assert 1 <= len(text.split()) <= 45
    assert not re.search(r"  | ,|,,|None", text)


@given(seed=SEEDS, voice=SEEDS)
def test_landscape_captions_name_only_what_is_there(seed: int, voice: int) -> None:
    scene = sample(seed, "landscape")
    assert isinstance(scene, Landscape)
    heard = spoken(scene, voice)
    signs = {
        "lake": scene.water == "lake",
        "river": scene.water == "river",
        "sea": scene.water == "sea",
        "ocean": scene.water == "sea",
        "mountains": scene.relief in ("mountains", "snowy mountains"),
        "hills": scene.relief == "hills",
        "palm": scene.trees == "palm",
        "pine": scene.trees == "pine",
        "house": scene.building == "house",
        "castle": scene.building == "castle",
        "city": scene.building == "city",
        "boat": scene.boat,
        "birds": scene.birds,
        "rainbow": scene.weather == "rainbow",
        "rain": scene.weather == "rain",
        "moon": scene.luminary is not None and scene.time == "night",
        "sun": scene.luminary is not None and scene.time != "night",
        "stars": scene.time == "night",
        "night": scene.time == "night",
        "sunset": scene.time == "sunset",
    }
    assert [sign for sign, there in signs.items() if sign in heard and not there] == []


@given(seed=SEEDS, voice=SEEDS)
def test_portrait_captions_name_only_what_is_there(seed: int, voice: int) -> None:
    portrait = sample(seed, "portrait")
    assert isinstance(portrait, Portrait)
    heard = spoken(portrait, voice)
    signs = {
        "glasses": portrait.eyewear == "glasses",
        "sunglasses": portrait.eyewear == "sunglasses",
        "hat": portrait.hat is not None,
        "beard": portrait.beard,
        "bearded": portrait.beard,
        "bald": portrait.style == "bald",
        "curly": portrait.style == "curly",
        "man": portrait.person == "man",
        "woman": portrait.person == "woman",
        "smiling": portrait.expression == "smiling",
        "sad": portrait.expression == "sad",
    }
    assert [sign for sign, there in signs.items() if sign in heard and not there] == []


@given(seed=SEEDS, voice=SEEDS)
def test_logo_and_poster_captions_name_only_their_colours(seed: int, voice: int) -> None:
    scene = sample(seed, "logo" if seed % 2 else "poster")
    assert isinstance(scene, Logo | Poster)
    drawn = {scene.colour, scene.background}
    if isinstance(scene, Logo) and scene.letter is not None:
        drawn.add(scene.letter_colour)
    assert colours_named(caption(scene, random.Random(voice))) <= drawn


@given(seed=SEEDS, voice=SEEDS)
def test_a_complete_logo_caption_names_every_attribute(seed: int, voice: int) -> None:
    logo = sample(seed, "logo")
    assert isinstance(logo, Logo)
    text = caption(logo, random.Random(voice), complete=True)
    assert {logo.colour, logo.background} <= colours_named(text)
    assert logo.shape in words(text)
    assert logo.letter is None or re.search(rf"\b{logo.letter}\b", text)


@given(seed=SEEDS, voice=SEEDS)
def test_a_complete_portrait_caption_names_every_colour(seed: int, voice: int) -> None:
    portrait = sample(seed, "portrait")
    assert isinstance(portrait, Portrait)
    named = colours_named(caption(portrait, random.Random(voice), complete=True))
    assert {portrait.clothes, portrait.background, *([portrait.hat] if portrait.hat else [])} <= named


def test_a_listing_ends_with_and() -> None:
    assert listing(["a", "b", "c"]) == "a, b and c"
    assert listing(["a"]) == "a"


def test_the_article_follows_the_sound() -> None:
    assert article("orange star") == "an orange star"
    assert article("red star") == "a red star"
