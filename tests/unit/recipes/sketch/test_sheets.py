"""Contact sheets: every picture in its place, its prompt below."""

from pathlib import Path

import numpy as np
from PIL import Image

from recipes.scenes.canvas import SIZE, Picture
from recipes.sketch.sheets import contact_sheet, save_sheet

RED: Picture = np.full((SIZE, SIZE, 3), (255, 0, 0), dtype=np.uint8)
BLUE: Picture = np.full((SIZE, SIZE, 3), (0, 0, 255), dtype=np.uint8)


def test_pictures_stand_side_by_side_then_below() -> None:
    sheet = np.asarray(contact_sheet([RED, BLUE, BLUE], ["a", "b", "c"], columns=2))
    assert tuple(sheet[SIZE, SIZE]) == (255, 0, 0)
    assert tuple(sheet[SIZE, 3 * SIZE]) == (0, 0, 255)
    assert tuple(sheet[-2 * SIZE, SIZE]) == (0, 0, 255)


def test_the_prompt_is_written_below() -> None:
    bare = np.asarray(contact_sheet([RED], [""], columns=1))
    told = np.asarray(contact_sheet([RED], ["a red square"], columns=1))
    assert np.array_equal(bare[: 2 * SIZE], told[: 2 * SIZE])
    assert (bare[2 * SIZE :] != told[2 * SIZE :]).any()


def test_a_sheet_is_written_into_a_new_folder(tmp_path: Path) -> None:
    save_sheet(tmp_path / "sheets" / "logo.png", [RED], ["red"])
    with Image.open(tmp_path / "sheets" / "logo.png") as written:
        assert written.format == "PNG"
