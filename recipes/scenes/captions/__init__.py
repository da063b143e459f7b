"""Captions of scenes in many phrasings: word orders, synonyms, and details left out now and then."""

import random

from recipes.scenes.captions.landscape import describe_landscape
from recipes.scenes.captions.logo import describe_logo
from recipes.scenes.captions.portrait import describe_portrait
from recipes.scenes.captions.poster import describe_poster
from recipes.scenes.captions.voice import Voice
from recipes.scenes.landscape import Landscape
from recipes.scenes.portrait import Portrait
from recipes.scenes.poster import Poster
from recipes.scenes.scene import Scene

_MANNERS = ("flat style", "vector art", "minimalist", "simple shapes", "flat design", "high quality", "detailed")


def caption(scene: Scene, rng: random.Random, complete: bool = False) -> str:
    """One phrasing of the scene. It names only what is drawn; where not `complete`, some details are left out."""
    voice = Voice(rng, complete)
    text = _described(scene, voice)
    if voice.chance(0.1):
        text += f", {voice.choice(_MANNERS)}"
    if voice.chance(0.15):
        text += "."
    return text[0].upper() + text[1:] if voice.chance(0.15) else text


def _described(scene: Scene, voice: Voice) -> str:
    if isinstance(scene, Landscape):
        return describe_landscape(scene, voice)
    if isinstance(scene, Portrait):
        return describe_portrait(scene, voice)
    if isinstance(scene, Poster):
        return describe_poster(scene, voice)
    return describe_logo(scene, voice)
