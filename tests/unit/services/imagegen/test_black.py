import numpy as np
import pytest

from services.imagegen.checks.black import is_black


@pytest.mark.parametrize(("brightest", "black"), [(0, True), (3, True), (4, False), (255, False)])
def test_one_visible_pixel_is_enough(brightest: int, black: bool) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[3, 5, 1] = brightest

    assert is_black(pixels) is black
