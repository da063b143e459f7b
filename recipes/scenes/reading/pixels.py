"""Small measurements on pixels."""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from recipes.scenes.canvas import SIZE, Picture
from recipes.scenes.palette import PALETTE, Colour

Mask = NDArray[np.bool_]
"""Marked pixels, [height, width]."""


def patch(picture: Picture, left: float, top: float, right: float, bottom: float) -> Colour:
    """The median colour of a rectangle given in unit coordinates."""
    rows, columns = slice(round(top * SIZE), round(bottom * SIZE)), slice(round(left * SIZE), round(right * SIZE))
    return median(picture[rows, columns].reshape(-1, 3))


def median(pixels: NDArray[np.uint8]) -> Colour:
    """The median of each channel of pixels [count, 3]; black where there are none."""
    if len(pixels) == 0:
        return (0, 0, 0)
    red, green, blue = np.median(pixels, axis=0)
    return (int(red), int(green), int(blue))


def corners(picture: Picture) -> Colour:
    """The median colour of the four corners: a plain background's colour."""
    edge = SIZE // 20
    ends = (slice(0, edge), slice(SIZE - edge, SIZE))
    return median(np.concatenate([picture[rows, columns].reshape(-1, 3) for rows in ends for columns in ends]))


def distance(picture: Picture, colour: Colour) -> NDArray[np.float64]:
    """The Euclidean distance of each pixel from a colour."""
    apart: NDArray[np.float64] = np.sqrt(np.square(picture.astype(np.float64) - np.asarray(colour)).sum(axis=-1))
    return apart


def nearest(colour: Colour, table: Mapping[str, Colour] = PALETTE) -> str:
    """The name of the closest colour in a table."""
    return min(table, key=lambda name: sum((a - b) ** 2 for a, b in zip(colour, table[name], strict=True)))


def closest(picture: Picture, table: Mapping[str, Colour]) -> dict[str, Mask]:
    """For each named colour: the pixels to which it is the closest of all."""
    distances = np.stack([distance(picture, colour) for colour in table.values()])
    winners = distances.argmin(axis=0)
    return {name: winners == index for index, name in enumerate(table)}


def commonest(pixels: NDArray[np.uint8]) -> list[str]:
    """Palette names by how many of the pixels [count, 3] they are closest to, most first."""
    counts = {name: int(mask.sum()) for name, mask in closest(pixels, PALETTE).items()}
    return sorted(counts, key=lambda name: -counts[name])


@dataclass(frozen=True)
class Blob:
    """A connected region: its area in pixels, centre in unit coordinates and marked pixels."""

    area: int
    x: float
    y: float
    mask: Mask


def blobs(mask: Mask, smallest: int = 1) -> list[Blob]:
    """The connected regions of a mask with at least `smallest` pixels, largest first."""
    count, labels, statistics, centres = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    found = [
        Blob(
            area=int(statistics[index, cv2.CC_STAT_AREA]),
            x=float(centres[index][0]) / SIZE,
            y=float(centres[index][1]) / SIZE,
            mask=labels == index,
        )
        for index in range(1, count)
    ]
    return sorted((blob for blob in found if blob.area >= smallest), key=lambda blob: -blob.area)


def filled(mask: Mask) -> Mask:
    """The mask with its holes closed."""
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros(mask.shape, np.uint8), outlines, -1, 1, cv2.FILLED).astype(bool)


def cropped(mask: Mask, side: int = 32) -> NDArray[np.float32]:
    """The marked part, stretched to side x side,; zeros if empty."""
    rows, columns = np.nonzero(mask)
    if len(rows) == 0:
        return np.zeros((side, side), np.float32)
    part = mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(np.float32)
    return cv2.resize(part, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32, copy=False)


def aspect(mask: Mask) -> float:
    """Width over height of the marked part; 1 if empty."""
    rows, columns = np.nonzero(mask)
    return float((np.ptp(columns) + 1) / (np.ptp(rows) + 1)) if len(rows) else 1.0


def best_match(mask: Mask, templates: Mapping[str, Mask]) -> str:
    """The template most like the mask after cropping, by overlap (intersection over union) and proportions."""
    ours, ratio = cropped(mask), aspect(mask)

    def likeness(name: str) -> float:
        theirs = cropped(templates[name])
        overlap = np.minimum(ours, theirs).sum() / max(1e-6, np.maximum(ours, theirs).sum())
        return float(overlap) - 0.5 * abs(float(np.log(ratio / aspect(templates[name]))))

    return max(templates, key=likeness)
