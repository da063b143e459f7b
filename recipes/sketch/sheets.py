"""Contact sheets: pictures in a grid with their prompts below."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap

from PIL import Image, ImageDraw, ImageFont

from recipes.scenes.canvas import SIZE, Picture

_ZOOM = 2
_CAPTION_LINES = 4
_LINE = 13
_GAP = 10


def contact_sheet(pictures: Sequence[Picture], prompts: Sequence[str], columns: int = 6) -> Image.Image:
    """The pictures at twice their size, row by row."""
    side = SIZE * _ZOOM
    cell = (side + _GAP, side + _CAPTION_LINES * _LINE + _GAP)
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * cell[0] + _GAP, rows * cell[1] + _GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    for index, (picture, prompt) in enumerate(zip(pictures, prompts, strict=True)):
        left, top = _GAP + index % columns * cell[0], _GAP + index // columns * cell[1]
        sheet.paste(Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS), (left, top))
        for number, line in enumerate(wrap(prompt, 34)[:_CAPTION_LINES]):
            pen.text((left, top + side + 2 + number * _LINE), line, fill="black", font=font)
    return sheet


def save_sheet(path: Path, pictures: Sequence[Picture], prompts: Sequence[str]) -> None:
    """Write a contact sheet as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(pictures, prompts).save(path, optimize=True)
