"""The labelled prompts of `prompts/*.toml`, and their fixed division into a dev and a test part."""

import hashlib
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

PROMPTS = Path(__file__).parent / "prompts"
Part = Literal["dev", "test"]
FieldName = Literal["landscape", "portrait", "poster", "logo", "general"]
ActionName = Literal["safe", "rewrite", "block"]
CategoryName = Literal["sexual", "minors", "violence", "drugs", "self_harm", "hate", "real_persons"]

_TEST_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class Labelled:
    """One prompt and what is right for it. `kind` is the file it stands in; unsafe prompts have no field."""

    text: str
    kind: str
    language: str
    field: FieldName | None
    action: ActionName
    category: CategoryName | None

    @property
    def part(self) -> Part:
        """`test` for 60 % of all texts, by a hash of the text alone, so that adding prompts moves none."""
        digest = hashlib.sha256(self.text.encode()).digest()
        return "test" if int.from_bytes(digest[:4]) / 2**32 < _TEST_SHARE else "dev"


class _Group(BaseModel):
    """Prompts with the same labels, as a file lists them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: Annotated[str, Field(pattern="^[a-z]{2}$")]
    texts: Annotated[tuple[str, ...], Field(min_length=1)]
    field: FieldName | None = None
    action: ActionName = "safe"
    category: CategoryName | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "_Group":
        if (self.action == "safe") != (self.category is None):
            raise ValueError("a category is given exactly where the action is not `safe`")
        if self.action == "safe" and self.field is None:
            raise ValueError("a safe prompt needs a field")
        return self


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    group: tuple[_Group, ...]


def load(part: Part | None = None, folder: Path = PROMPTS) -> tuple[Labelled, ...]:
    """Every prompt of `part`, or of both parts, in the order of the files.

    Raises:
        ValueError: a file is not TOML, has a wrong label, or a text stands in two places.
    """
    found = tuple(each for path in sorted(folder.glob("*.toml")) for each in _read(path))
    texts = [each.text for each in found]
    if repeated := sorted({text for text in texts if texts.count(text) > 1}):
        raise ValueError(f"{folder}: listed twice: {', '.join(map(repr, repeated))}")
    return tuple(each for each in found if part in {None, each.part})


def _read(path: Path) -> Iterator[Labelled]:
    try:
        file = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise ValueError(f"{path}: {error}") from error
    for group in file.group:
        for text in group.texts:
            yield Labelled(text, path.stem, group.language, group.field, group.action, group.category)
