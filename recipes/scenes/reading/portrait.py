"""Reading portraits."""

import numpy as np

from recipes.scenes.canvas import SIZE, Picture
from recipes.scenes.palette import PALETTE, Colour
from recipes.scenes.portrait import HAIR, SKIN, Portrait
from recipes.scenes.reading.pixels import Mask, blobs, distance, median, nearest, patch

_LIPS: Colour = (168, 42, 50)
_RIMS = 0.35
_WHITES = 0.02


def portrait_verdicts(portrait: Portrait, picture: Picture) -> dict[str, bool]:
    """Colours of background, clothes, skin, hair and hat; eyewear, expression, hair style and beard where visible."""
    ground = _background(picture)
    skin = _skin(picture)
    found = {
        "background": nearest(ground) == portrait.background,
        "clothes": nearest(patch(picture, 0.36, 0.9, 0.64, 0.99)) == portrait.clothes,
        "skin": nearest(skin, SKIN) == portrait.skin,
        "eyewear": _eyewear(picture) == (portrait.eyewear or "none"),
    }
    if not (portrait.beard and portrait.hair == "red"):
        found["expression"] = _expression(picture) == portrait.expression
    if portrait.hat is not None:
        return found | {"hat": nearest(patch(picture, 0.44, 0.17, 0.56, 0.27)) == portrait.hat}
    if portrait.style == "bald":
        return found | {"hair": nearest(patch(picture, 0.44, 0.26, 0.56, 0.32), HAIR | {"bald": skin}) == "bald"}
    found["hair"] = nearest(patch(picture, 0.44, 0.25, 0.56, 0.31), HAIR) == portrait.hair
    if _apart(HAIR[portrait.hair], PALETTE[portrait.background]):
        found["hair style"] = _style(picture, ground) == portrait.style
    if portrait.person == "man" and _apart(HAIR[portrait.hair], SKIN[portrait.skin]):
        found["beard"] = _bearded(picture, skin) == portrait.beard
    return found


def _apart(first: Colour, second: Colour) -> bool:
    return sum((a - b) ** 2 for a, b in zip(first, second, strict=True)) > 80**2


def _background(picture: Picture) -> Colour:
    edge = SIZE // 10
    return median(np.concatenate([picture[:edge, :edge].reshape(-1, 3), picture[:edge, -edge:].reshape(-1, 3)]))


def _skin(picture: Picture) -> Colour:
    """The colour beside the nose, which neither hair nor a beard reaches."""
    rows = slice(round(0.53 * SIZE), round(0.555 * SIZE))
    sides = [picture[rows, round(x * SIZE) : round((x + 0.05) * SIZE)] for x in (0.43, 0.52)]
    return median(np.concatenate([side.reshape(-1, 3) for side in sides]))


def _eyewear(picture: Picture) -> str:
    """Sunglasses hide the white of the eyes; glasses add dark rims to it."""
    eyes = picture[round(0.4 * SIZE) : round(0.53 * SIZE), round(0.37 * SIZE) : round(0.63 * SIZE)]
    dark = float((eyes.max(axis=-1) < 72).mean())
    white = float((eyes.min(axis=-1) > 200).mean())
    return "none" if dark < _RIMS else "glasses" if white > _WHITES else "sunglasses"


def _expression(picture: Picture) -> str:
    """By the extent of the lips and whether they curve down at their ends."""
    top, left = round(0.555 * SIZE), round(0.4 * SIZE)
    mouth = picture[top : round(0.67 * SIZE), left : SIZE - left].astype(np.int64)
    lips: Mask = (mouth[..., 0] - mouth[..., 1] > 70) & (distance(mouth.astype(np.uint8), _LIPS) < 75)
    found = blobs(lips, smallest=6)
    if not found:
        return "none"
    rows, columns = np.nonzero(found[0].mask)
    width, height = np.ptp(columns) + 1, np.ptp(rows) + 1
    if width < 1.35 * height:
        return "surprised"
    middle = np.abs(columns - np.median(columns)) < width / 5
    drop = float(rows[~middle].mean() - rows[middle].mean()) if (~middle).any() and middle.any() else 0.0
    if drop > 0.8:
        return "sad"
    return "neutral" if height <= 4 else "smiling"


def _style(picture: Picture, ground: Colour) -> str:
    away = distance(picture, ground)
    beside = np.median(away[round(0.6 * SIZE) : round(0.7 * SIZE), round(0.28 * SIZE) : round(0.32 * SIZE)])
    if beside > 45:
        return "long"
    temples = [
        away[round(0.33 * SIZE) : round(0.38 * SIZE), column] for column in (round(0.25 * SIZE), round(0.74 * SIZE))
    ]
    return "curly" if float(np.median(np.concatenate(temples))) > 45 else "short"


def _bearded(picture: Picture, skin: Colour) -> bool:
    chin = picture[round(0.655 * SIZE) : round(0.685 * SIZE), round(0.45 * SIZE) : round(0.55 * SIZE)]
    return bool(np.median(distance(chin, skin)) > 42)
