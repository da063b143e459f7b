"""The words for a logo."""

from recipes.scenes.captions.voice import Voice, article
from recipes.scenes.logo import Logo


def describe_logo(logo: Logo, voice: Voice) -> str:
    """One phrasing of a logo."""
    colour, background = voice.colour(logo.colour), voice.colour(logo.background)
    ground = [
        voice.choice(
            (
                f"on {article(background)} background",
                f"on {background}",
                f", {background} background",
                f"on a {background} background",
            )
        )
        for _ in voice.kept("background")
    ]
    shape = f"{colour} {logo.shape}"
    letter = _letter(logo, voice)
    if not letter:
        body = voice.choice(
            (f"{article(shape)} logo", f"logo of {article(shape)}", f"a logo with {article(shape)}", f"logo, {shape}")
        )
    elif voice.chance(0.4):
        body = f"{voice.choice((shape, article(shape)))} logo with {letter}"
    elif voice.chance(0.5):
        opening, place = voice.choice(("logo", "a logo", "a minimal logo")), voice.choice(("in", "on", "inside"))
        body = f"{opening} of {letter} {place} {article(shape)}"
    elif voice.chance(0.5):
        body = f"logo, {shape}, {letter.removeprefix('the ')}"
    else:
        body = f"{article(shape)} with {letter}, logo"
    return " ".join([body, *ground]).replace(" ,", ",")


def _letter(logo: Logo, voice: Voice) -> str:
    if logo.letter is None:
        return ""
    letter_colour = voice.colour(logo.letter_colour)
    if not voice.mentions(0.5):
        return voice.choice((f"the letter {logo.letter}", f"a letter {logo.letter}", f"the letter {logo.letter}"))
    return voice.choice(
        (
            f"the {letter_colour} letter {logo.letter}",
            f"the letter {logo.letter} in {letter_colour}",
            f"{article(letter_colour)} {logo.letter}",
        )
    )
