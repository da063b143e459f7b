"""The words for a portrait."""

from recipes.scenes.captions.voice import MEDIA, Voice, article, listing
from recipes.scenes.portrait import Portrait

_EXPRESSION: dict[str, tuple[str, ...]] = {
    "smiling": ("smiling", "happy", "laughing", "smiling"),
    "neutral": ("serious", "calm"),
    "sad": ("sad", "unhappy"),
    "surprised": ("surprised", "astonished"),
}
_SKIN = {"light": ("light", "pale"), "tan": ("tan", "brown"), "dark": ("dark",)}


def describe_portrait(portrait: Portrait, voice: Voice) -> str:
    """One phrasing of a portrait."""
    person = _person(portrait, voice)
    details = _details(portrait, voice)
    voice.shuffle(details)
    clothes = voice.kept(_clothes(portrait, voice))
    background = voice.kept(_background(portrait.background, voice))
    if voice.chance(0.25):
        bare = [detail.removeprefix("a ") for detail in [*details, *clothes]]
        return ", ".join([voice.choice(("portrait", "portrait illustration", "avatar")), person, *bare, *background])
    opening = voice.choice(
        (f"portrait of {article(person)}", f"a portrait of {article(person)}", article(person), _of(person, voice))
    )
    joined = f" with {listing(details)}" if details else ""
    wearing = f"{voice.choice((' wearing ', ', wearing ', ' in '))}{clothes[0]}" if clothes else ""
    middle = joined + wearing if voice.chance(0.6) else wearing + joined
    end = f"{voice.choice((' on ', ', on ', ' against ', ', '))}{article(background[0])}" if background else ""
    return opening + middle + end


def _of(person: str, voice: Voice) -> str:
    return f"{voice.choice(MEDIA)} {article(person)}"


def _person(portrait: Portrait, voice: Voice) -> str:
    noun = voice.choice(("man", "man", "guy") if portrait.person == "man" else ("woman", "woman", "lady"))
    mentioned = portrait.expression != "neutral" or voice.mentions(0.5)
    before = voice.kept(voice.choice(_EXPRESSION[portrait.expression]) if mentioned else None)
    beard = ["bearded"] if portrait.beard and voice.chance(0.25) else []
    return " ".join([*before, *beard, noun])


def _details(portrait: Portrait, voice: Voice) -> list[str]:
    colour = {"gray": ("gray", "grey"), "blonde": ("blonde", "blond"), "red": ("red", "ginger")}.get(
        portrait.hair, (portrait.hair,)
    )
    style = f"{portrait.style} " if voice.mentions(0.6) else ""
    hair = (
        f"{style}{voice.choice(colour)} hair" if portrait.style != "bald" else voice.choice(("a bald head", "no hair"))
    )
    return voice.kept(
        hair,
        f"{voice.choice(_SKIN[portrait.skin])} skin" if voice.mentions(0.6) else None,
        portrait.eyewear,
        f"a {voice.colour(portrait.hat)} hat" if portrait.hat else None,
        "a beard" if portrait.beard else None,
    )


def _clothes(portrait: Portrait, voice: Voice) -> str:
    garment = voice.choice(("shirt", "shirt", "sweater", "t-shirt", "jacket"))
    return article(f"{voice.colour(portrait.clothes)} {garment}")


def _background(name: str, voice: Voice) -> str:
    return f"{voice.colour(name)} {voice.choice(('background', 'background', 'backdrop', 'wall'))}"
