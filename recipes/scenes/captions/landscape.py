"""The words for a landscape."""

from recipes.scenes.captions.voice import MEDIA, Voice, article, listing
from recipes.scenes.landscape import Landscape

_TIME: dict[str, tuple[str, ...]] = {
    "day": ("during the day", "by day", "in daylight", "under a blue sky", "on a bright day"),
    "sunset": ("at sunset", "at sunset", "at dusk", "in the evening", "during sunset", "with an orange sunset sky"),
    "sunrise": ("at sunrise", "at dawn", "in the early morning", "at sunrise"),
    "night": ("at night", "at night", "by night", "under a night sky", "in the dark night"),
}
_ADJECTIVES = ("serene", "beautiful", "calm", "peaceful", "quiet", "simple", "wide", "lovely", "minimalist")
_SCENERY = ("landscape", "landscape", "landscape", "scene", "view", "scenery")
_RELIEF: dict[str, tuple[str, ...]] = {
    "mountains": ("mountains", "gray mountains", "bare mountains", "rocky mountains"),
    "snowy mountains": ("snowy mountains", "snow-capped mountains", "mountains with snow on top", "snowy peaks"),
    "hills": ("hills", "rolling hills", "green hills"),
}
_GROUND: dict[str, tuple[str, ...]] = {
    "meadow": ("a green meadow", "grass", "green grass", "a meadow", "green fields"),
    "snow": ("snow on the ground", "snow", "snowy ground", "a snowy field"),
    "desert": ("sand", "sandy ground", "sand dunes"),
    "autumn": ("autumn colors", "orange autumn grass", "autumn fields"),
}
_GROUND_ADJECTIVE: dict[str, tuple[str, ...]] = {
    "meadow": ("summer", "green"),
    "snow": ("winter", "snowy"),
    "desert": ("desert", "sandy"),
    "autumn": ("autumn", "fall"),
}
_TREES: dict[str, tuple[str, ...]] = {
    "pine": ("pine trees", "pines", "fir trees", "evergreen trees"),
    "round": ("trees", "round trees", "leafy trees"),
    "palm": ("palm trees", "palms"),
}
_WATER = {
    "lake": ("a lake", "a blue lake"),
    "river": ("a river", "a winding river"),
    "sea": ("the sea", "the ocean", "a sea"),
}
_BUILDING = {
    "house": ("a house", "a small house", "a house with a red roof", "a cottage"),
    "castle": ("a castle", "a stone castle"),
    "city": ("a city", "a city skyline", "tall buildings"),
}
_WEATHER: dict[str, tuple[str, ...]] = {
    "cloudy": ("clouds", "a cloudy sky", "clouds in the sky"),
    "rain": ("rain", "falling rain", "rain clouds"),
    "snowfall": ("falling snow", "snowflakes", "snow falling"),
    "rainbow": ("a rainbow", "a colorful rainbow"),
}


def describe_landscape(scene: Landscape, voice: Voice) -> str:
    """One phrasing of a landscape."""
    time = voice.kept(voice.choice(_TIME[scene.time]) if scene.time != "day" or voice.mentions(0.5) else None)
    things = _things(scene, voice)
    voice.shuffle(things)
    if voice.chance(0.2):
        ground = voice.kept(voice.choice(_GROUND_ADJECTIVE[scene.ground]))
        words = [voice.choice(("landscape", "landscape illustration", "scenery")), *ground, *time, *things]
        return ", ".join(words)
    if things and voice.chance(0.25):
        return " ".join([listing(things), *time])
    subject = " ".join([*_before(scene, voice), voice.choice(_SCENERY)])
    opening = f"{voice.choice(MEDIA)} {article(subject)}" if voice.chance(0.35) else article(subject)
    with_things = [f"with {listing(things)}"] if things else []
    order = [*time, *with_things] if voice.chance(0.5) else [*with_things, *time]
    return " ".join([opening, *order])


def _before(scene: Landscape, voice: Voice) -> list[str]:
    adjective = [voice.choice(_ADJECTIVES)] if voice.chance(0.35) else []
    mention = voice.chance(0.3 if scene.ground == "meadow" else 0.75)
    return adjective + ([voice.choice(_GROUND_ADJECTIVE[scene.ground])] if mention else [])


def _things(scene: Landscape, voice: Voice) -> list[str]:
    """The things to be seen, each in one phrase."""
    return voice.kept(
        voice.choice(_RELIEF[scene.relief]) if scene.relief else None,
        voice.choice(_WATER[scene.water]) if scene.water else None,
        voice.choice(_TREES[scene.trees]) if scene.trees else None,
        voice.choice(_BUILDING[scene.building]) if scene.building else None,
        voice.choice(("a boat", "a sailing boat", "a small boat")) if scene.boat else None,
        voice.choice(("birds", "flying birds")) if scene.birds else None,
        voice.choice(_WEATHER[scene.weather]) if scene.weather != "clear" else None,
        voice.choice(_GROUND[scene.ground]) if voice.mentions(0.3) else None,
        _luminary(scene, voice),
        voice.choice(("stars", "a starry sky")) if _starry(scene) and voice.mentions(0.5) else None,
    )


def _starry(scene: Landscape) -> bool:
    return scene.time == "night" and scene.weather == "clear"


def _luminary(scene: Landscape, voice: Voice) -> str | None:
    if scene.luminary is None:
        return None
    body = voice.choice(("the moon", "a moon")) if scene.time == "night" else voice.choice(("the sun", "a sun"))
    side = {
        "left": ("on the left", "at the left"),
        "center": ("in the middle", "in the center"),
        "right": ("on the right", "at the right"),
    }[scene.luminary]
    return f"{body} {voice.choice(side)}" if voice.mentions(0.65) else body
