"""Where weights come from, and which of the files there are wanted."""

import re
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

NETWORKS = ("transformer", "unet")
"""What the denoising network is called in a pipeline."""

_PART = r"\b[\w.-]{1,96}\b"
_HUB_ID = re.compile(rf"(?!.*(--|\.\.))({_PART}/)?{_PART}(?<!\.git)", re.ASCII)
"""What the hub allows."""


def hub_id(name: str) -> str:
    """Return the name of a repository of the hub; raises `ValueError` unless it is one."""
    if not _HUB_ID.fullmatch(name):
        raise ValueError(f"{name!r} must be owner/name or name on the hub, of letters, digits, '-', '_' and '.'")
    return name


class Row(BaseModel):
    """Part of a catalog. A field that is not known is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Weights(Row):
    """Where weights come from: a folder below the models folder, or a repository of the hub."""

    FILES: ClassVar[tuple[str, ...]] = ("*.json", "*.txt", "*.model", "*.safetensors", "*.jinja")
    """Files of a repository that may be of use."""

    source: str = ""
    """Path, relative to the models folder or absolute."""
    hub: str = ""
    """`owner/name`."""
    revision: str = ""
    """Commit or tag of the hub's repository; empty means its main branch."""

    @field_validator("hub")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        return hub_id(value) if value else value

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if bool(self.source) == bool(self.hub):
            raise ValueError("give either source (a folder) or hub (owner/name)")
        return self

    @property
    def place(self) -> str:
        """The source in words, for people."""
        return self.source or "@".join(filter(None, (self.hub, self.revision)))

    def needs(self, file: str) -> bool:
        """Tell whether a file of the place, named relative to it, is wanted."""
        return bool(file)


def named(place: str) -> Weights:
    """Return the weights that a setting names: a folder, or `owner/name` or `owner/name@revision` of the hub.

    Raises `ValueError` if it is neither.
    """
    folder = Path(place)
    if folder.is_absolute() or folder.is_dir():
        return Weights(source=str(folder.absolute()))
    hub, _, revision = place.partition("@")
    if not _HUB_ID.fullmatch(hub):
        raise ValueError(f"{place!r} must be a folder that is there, or owner/name or owner/name@commit on the hub")
    return Weights(hub=hub, revision=revision)


class Component(Weights):
    """A part of the pipeline that lives elsewhere, by itself."""

    cls: str = Field(alias="class", pattern=r"^(transformers|diffusers)\.\w+$")
    options: dict[str, Any] = {}


class Gguf(Weights):
    """The denoising network in one GGUF file, at some 4 to 8 bits a weight; all else is the row's own."""

    FILES: ClassVar = ("*.gguf",)

    file: str = Field(pattern=r"\.gguf$")
    """Its name, relative to the place."""
    bytes: int = Field(ge=1)
    """Estimated bytes of all the row's weights with this network in the place of its own."""
    always: bool = False
    """True to take it wherever the row is served. Else only where the network itself does not fit, nor does it in 8-bit
    floating point."""

    def needs(self, file: str) -> bool:
        """Tell whether a file is wanted: only the one."""
        return file == self.file


class Refiner(Weights):
    """A pipeline that takes over the latents for the last steps. It shares encoder and autoencoder with its base."""

    SHARED: ClassVar = ("text_encoder_2", "tokenizer_2", "vae")
    """What it takes from its base."""

    start: float = Field(default=0.8, gt=0, lt=1)
    """Share of the noise schedule after which it takes over."""

    def needs(self, file: str) -> bool:
        """Tell whether a file is wanted: not of what it takes from its base."""
        return file.split("/", maxsplit=1)[0] not in self.SHARED
