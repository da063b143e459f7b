"""The words for a poster."""

from recipes.scenes.captions.voice import Voice, article, listing
from recipes.scenes.poster import Poster

_POSTER_WORDS = ("poster", "abstract poster", "poster design", "pattern", "graphic poster", "background image")
_PLURAL = {"circle": "circles", "square": "squares", "triangle": "triangles", "star": "stars", "heart": "hearts"}
_COUNT = {1: ("one", "a single"), 2: ("two",), 3: ("three",), 4: ("four",)}


def describe_poster(poster: Poster, voice: Voice) -> str:
    """One phrasing of a poster."""
    colour, background = voice.colour(poster.colour), voice.colour(poster.background)
    opening = voice.choice((article(voice.choice(_POSTER_WORDS)), voice.choice(_POSTER_WORDS)))
    if poster.layout == "interface":
        return _interface(poster, colour, background, voice)
    if poster.layout == "gradient":
        return _gradient(colour, background, opening, voice)
    subject = _pattern(poster, colour, voice)
    if poster.layout in ("stripes", "checkers") and voice.chance(0.45):
        plain = _pattern(poster, "", voice).strip()
        return _joined(opening, f"{plain} in {colour} and {background}", voice)
    ground = voice.choice((f"on {article(background)} background", f"on {background}", f", {background} background"))
    return _joined(opening, f"{subject} {ground}", voice).replace(" ,", ",")


def _joined(opening: str, subject: str, voice: Voice) -> str:
    return voice.choice((f"{opening} with {subject}", f"{opening} of {subject}", f"{opening}, {subject}", subject))


_REPEATED: dict[str, tuple[str, ...]] = {
    "stripes": ("stripes", "stripes", "lines", "bands"),
    "checkers": ("checkers", "a checkerboard", "a grid of squares"),
    "dots": ("dots", "polka dots"),
    "rings": ("rings", "concentric circles", "concentric rings"),
}


def _pattern(poster: Poster, colour: str, voice: Voice) -> str:
    """The figure in its colour, or without one where `colour` is empty."""
    if poster.layout == "word":
        word = poster.word
        return voice.choice((f"the word {word} in {colour}", f"{colour} text {word}", f"the {colour} word {word}"))
    if poster.layout == "shapes":
        return _figures(poster, colour, voice)
    if poster.layout == "checkers" and colour and voice.chance(0.5):
        return f"{article(colour)} checkerboard"
    parts = (poster.direction, colour, voice.choice(_REPEATED[poster.layout]))
    return " ".join(part for part in parts if part)


def _figures(poster: Poster, colour: str, voice: Voice) -> str:
    if poster.count == 1:
        return article(f"{voice.choice(('', 'single ', 'big '))}{colour} {poster.shape}")
    return f"{voice.choice(_COUNT[poster.count])} {colour} {_PLURAL[poster.shape or 'circle']}"


def _gradient(colour: str, background: str, opening: str, voice: Voice) -> str:
    word = voice.choice(("gradient", "smooth gradient", "color gradient"))
    phrases = (
        f"a {word} from {colour} to {background}",
        f"a {colour} to {background} {word}",
        f"a {word}, {colour} above and {background} below",
    )
    return _joined(opening, voice.choice(phrases), voice)


def _interface(poster: Poster, colour: str, background: str, voice: Voice) -> str:
    theme = {"white": "light", "black": "dark", "gray": background}[poster.background]
    noun = voice.choice(
        ("app interface", "user interface", "mobile app screen", "interface layout", "app screen", "website layout")
    )
    screen = f"{theme} {noun}" if voice.chance(0.6) else noun
    header = article(f"{colour} {voice.choice(('header', 'header bar', 'top bar'))}")
    cards = f"{voice.choice(_COUNT[poster.count])} {voice.choice(('cards', 'cards', 'rows'))}"
    button = article(f"{colour} button") if voice.chance(0.5) else "a button"
    parts = [header, *voice.kept(cards, button)]
    ground = f" on {article(background)} background" if voice.mentions(0.6) or screen == noun else ""
    return f"{article(screen)} with {listing(parts)}{ground}"
