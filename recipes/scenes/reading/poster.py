"""Reading posters."""

from itertools import pairwise

import numpy as np

from recipes.scenes.canvas import SIZE, Picture
from recipes.scenes.palette import PALETTE
from recipes.scenes.poster import POSTER_SHAPES, WORDS, Poster
from recipes.scenes.reading.pixels import Mask, blobs, commonest, corners, distance, filled, nearest, patch
from recipes.scenes.reading.shapes import read_shape, read_text


def poster_verdicts(poster: Poster, picture: Picture) -> dict[str, bool]:
    """The colours, and what belongs to the layout: direction, shape and count, word, cards."""
    if poster.layout == "gradient":
        return {
            "upper colour": nearest(patch(picture, 0, 0, 1, 0.06)) == poster.colour,
            "lower colour": nearest(patch(picture, 0, 0.94, 1, 1)) == poster.background,
        }
    if poster.layout == "interface":
        return _interface(poster, picture)
    if poster.layout in ("stripes", "checkers"):
        colours = {"colours": set(commonest(picture.reshape(-1, 3))[:2]) == {poster.colour, poster.background}}
        return colours | {"pattern": _pattern(picture) == (poster.direction or "checkers")}
    return _figures(poster, picture)


def _pattern(picture: Picture) -> str:
    """Stripes' direction, or checkers, from how often the colour changes along rows, columns and diagonals."""
    gray = picture.astype(np.float64)
    across, down = np.abs(np.diff(gray, axis=1)).mean(), np.abs(np.diff(gray, axis=0)).mean()
    if min(across, down) < 0.25 * max(across, down):
        return "vertical" if across > down else "horizontal"
    slant = np.abs(gray[:-8, :-8] - gray[8:, 8:]).mean()
    return "diagonal" if slant < 0.45 * np.abs(gray[:-8, 8:] - gray[8:, :-8]).mean() else "checkers"


def _figures(poster: Poster, picture: Picture) -> dict[str, bool]:
    """Layouts of one colour on a background that shows in the corners."""
    ground = corners(picture)
    away = distance(picture, ground)
    figure: Mask = away > max(40.0, 0.5 * float(np.percentile(away, 95)))
    found = {
        "background": nearest(ground) == poster.background,
        "figure colour": figure.any() and commonest(picture[figure])[0] == poster.colour,
    }
    parts = blobs(figure, smallest=40)
    if poster.layout == "shapes":
        found["count"] = len(parts) == poster.count
        found["shape"] = bool(parts) and read_shape(filled(parts[0].mask), POSTER_SHAPES) == poster.shape
    elif poster.layout == "word":
        found["word"] = bool(figure.any()) and read_text(figure, WORDS) == poster.word
    elif poster.layout == "dots":
        found["pattern"] = len(blobs(figure, smallest=12)) >= 12
    else:
        found["pattern"] = _changes(figure[SIZE // 2]) >= 6 and _changes(figure[:, SIZE // 2]) >= 6
    return {name: bool(value) for name, value in found.items()}


def _changes(line: Mask) -> int:
    return sum(bool(first != second) for first, second in pairwise(line))


def _interface(poster: Poster, picture: Picture) -> dict[str, bool]:
    ground = patch(picture, 0.01, 0.25, 0.05, 0.98)
    column = distance(picture, ground)[round(0.2 * SIZE) : round(0.81 * SIZE), round(0.7 * SIZE) : round(0.86 * SIZE)]
    rows: Mask = np.median(column, axis=1) > 16
    table = {name: PALETTE[name] for name in ("white", "black", "gray")}
    found = {
        "background": nearest(ground, table) == poster.background,
        "header colour": nearest(patch(picture, 0.1, 0.02, 0.9, 0.13)) == poster.colour,
        "button colour": nearest(patch(picture, 0.36, 0.87, 0.64, 0.92)) == poster.colour,
    }
    if poster.background == "gray":
        return found
    return found | {"count": _changes(np.concatenate([[False], rows, [False]])) == 2 * poster.count}
