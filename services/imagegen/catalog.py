"""The models this service offers, as rows of a catalog. `reading` makes it from files."""

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from servekit.residency import UnknownModel
from services.imagegen.domain import DecoderName
from services.imagegen.places import NETWORKS, Component, Gguf, Refiner, Row, Weights
from services.imagegen.step_cache import StepCache

Dtype = Literal["float32", "bfloat16", "float16"]
Capability = Literal["text_to_image", "image_to_image", "inpainting", "negative_prompt", "adapters"]

_DTYPE_BYTES: Mapping[Dtype, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
_Id = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a family's engine can do at most; a row may claim less."""

    capabilities: frozenset[Capability]
    schedulers: tuple[str, ...]
    refines: bool = False
    """True if another model may take the last steps."""
    ends_guidance: bool = False
    """True if the second pass of guidance can be left out of the last steps."""
    decodes_tiny: bool = False
    """True if a tiny autoencoder can make the picture of the latents."""


class Span(Row):
    """A number's default and bounds."""

    default: float
    min: float
    max: float

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.min <= self.default <= self.max:
            raise ValueError(f"must be min <= default <= max, not {self.min} <= {self.default} <= {self.max}")
        return self


class Steps(Span):
    """A number of steps."""

    min: float = Field(ge=1)


class Sizes(Row):
    """Sides of a picture in pixels."""

    default: tuple[int, int]
    """Width and height."""
    min: int = Field(ge=16)
    max: int = Field(le=4096)
    multiple_of: int = Field(ge=1)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        sides = {"min": self.min, "max": self.max, "default width": self.default[0], "default height": self.default[1]}
        wrong = [name for name, side in sides.items() if side % self.multiple_of]
        if wrong:
            raise ValueError(f"{', '.join(wrong)} must be a multiple of multiple_of = {self.multiple_of}")
        if not all(self.min <= side <= self.max for side in self.default):
            raise ValueError(f"default must lie within {self.min} to {self.max}")
        return self


class Usual(Row):
    """Defaults that take the place of a row's. A request may ask for anything else."""

    steps: int = Field(ge=1)
    """Default steps."""
    refine: bool = False
    """Whether the refiner runs unless a request says."""
    guided: float = Field(default=1.0, gt=0, le=1)
    """Share of the steps, the first ones, that are guided by a second pass; the others take half as long."""
    cache: StepCache | None = None
    """Which steps are forecast from those before them instead of being computed. Unset: none."""
    decoder: DecoderName = "full"
    """Whether the row's own autoencoder makes the picture or its `tiny_vae`."""


class ModelRow(Weights):
    """One model of the catalog."""

    id: str = _Id
    display_name: str
    family: str
    """What the engine is chosen by."""
    license: str
    gated: bool = False
    """True if the hub asks for an accepted licence and a token."""
    strengths: str = Field(min_length=10)
    """What the model is good at, in words that a language model can judge by."""
    tags: tuple[str, ...] = ()
    capabilities: tuple[Capability, ...] = ("text_to_image",)
    steps: Steps
    guidance: Span
    cfg: Literal["true", "embedded"] = "true"
    """`true`: guided by a second forward pass with the negative prompt. `embedded`: distilled into the weights."""
    size: Sizes
    schedulers: tuple[str, ...] = ()
    """Names offered; the first is the default. Empty: only the one saved with the weights."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Data type of the weights; `auto` is the device's."""
    max_tokens: int = Field(default=512, ge=8)
    """Text tokens that the longest encoder reads."""
    bytes: dict[Dtype, int]
    """Estimated bytes of the weights by data type."""
    float8_bytes: int | None = Field(default=None, ge=1)
    """Estimated bytes with the denoising network's weights stored in 8 bits and the rest in 16, which is done where all
    in 16 bits do not fit. Unset: never."""
    gguf: Gguf | None = None
    """The denoising network in fewer bits, for devices that are too small. Unset: there is none."""
    components: dict[str, Component] = Field(default_factory=dict)
    """Parts of the pipeline that are not in its own place, by name."""
    without: tuple[str, ...] = ()
    """Parts of the pipeline that are left out, where it can do without: Stable Diffusion 3's T5 encoder."""
    refiner: Refiner | None = None
    refine: bool = True
    """Whether the refiner runs unless a request says."""
    guided: float = Field(default=1.0, gt=0, le=1)
    """Share of the steps, the first ones, that are guided by a second pass."""
    cache: StepCache | None = None
    """Which steps are forecast from those before them instead of being computed. Unset: none."""
    tiny_vae: Weights | None = None
    """A diffusers `AutoencoderTiny` for the same latents, which tiers may decode with. Its bytes belong to `bytes`."""
    decoder: DecoderName = "full"
    """Whether the row's own autoencoder makes the picture or its `tiny_vae`."""
    on_cpu: Usual | None = None
    """What is usual on a CPU, where every step is dear; never more steps than elsewhere. Unset: as elsewhere."""
    fast: Usual | None = None
    """What the tier `fast` takes: never more steps than usual. Unset: the model has no such tier."""
    best: Usual | None = None
    """What the tier `best` takes: never fewer steps than usual. Unset: the model has no such tier."""
    exclusive: bool = False
    """True if everything else leaves the device before this is loaded."""
    fallback: str = ""
    """Model that takes over when this one's pictures are unusable."""
    base: str = ""
    """Model whose weights this row shares; it then differs by its adapters."""
    adapters: tuple[str, ...] = ()
    """LoRA adapters that are always on."""
    untrained: bool = False
    """True if the weights are untrained and the pictures mean nothing."""
    default: bool = False
    """True for the model that is taken when nothing speaks for another."""

    @field_validator("bytes")
    @classmethod
    def _some_estimate(cls, value: dict[Dtype, int]) -> dict[Dtype, int]:
        if not value:
            raise ValueError(f"needs an estimate for at least one of {', '.join(_DTYPE_BYTES)}")
        return value

    def needs(self, file: str) -> bool:
        """Tell whether a file is wanted: not of a part that is left out, or that comes from elsewhere.

        Of a network that a GGUF file replaces, the configuration is.
        """
        part = file.split("/", maxsplit=1)[0]
        replaced = self.gguf is not None and self.gguf.always and part in NETWORKS and file.endswith(".safetensors")
        return part not in {*self.without, *self.components} and not replaced

    def with_gguf(self) -> Self:
        """Return the row with its GGUF file in use."""
        gguf = None if self.gguf is None else self.gguf.model_copy(update={"always": True})
        return self.model_copy(update={"gguf": gguf})

    @property
    def tiers(self) -> dict[str, Usual]:
        """What takes the place of the row's defaults, by the name of the field that says so."""
        found = {"on_cpu": self.on_cpu, "fast": self.fast, "best": self.best}
        return {name: usual for name, usual in found.items() if usual is not None}

    @property
    def caches(self) -> bool:
        """Tell whether some request may have steps forecast."""
        return self.cache is not None or any(each.cache is not None for each in self.tiers.values())

    @property
    def weights(self) -> str:
        """Id under which the weights are held: rows that differ only by adapters share one copy."""
        return self.base or self.id

    def estimated_bytes(self, dtype: Dtype) -> int:
        """Return the bytes of the weights in `dtype`, scaled from another type if the row does not say."""
        if dtype in self.bytes:
            return self.bytes[dtype]
        known, size = next(iter(self.bytes.items()))
        return size * _DTYPE_BYTES[dtype] // _DTYPE_BYTES[known]

    def fewer(self, usual: Usual) -> Self:
        """Return the row with other defaults that take no more steps than its own."""
        return self._with(usual, min(self.steps.default, usual.steps))

    def more(self, usual: Usual) -> Self:
        """Return the row with other defaults that take no fewer steps than its own."""
        return self._with(usual, max(self.steps.default, usual.steps))

    def _with(self, usual: Usual, steps: float) -> Self:
        within = min(max(steps, self.steps.min), self.steps.max)
        refine = usual.refine if self.refiner is not None else self.refine
        span = self.steps.model_copy(update={"default": within})
        return self.model_copy(
            update={
                "steps": span,
                "refine": refine,
                "guided": usual.guided,
                "cache": usual.cache,
                "decoder": usual.decoder,
            }
        )

    def can(self, capability: Capability) -> bool:
        """Tell whether the model has a capability."""
        return capability in self.capabilities


class AdapterRow(Weights):
    """One LoRA adapter of the catalog."""

    id: str = _Id
    base: str
    """Model whose weights it was trained on."""
    file: str = Field(default="", pattern=r"^$|\.safetensors$")
    """Name of its file, where the place has several; empty for the one that is there."""
    license: str
    strengths: str = ""

    def needs(self, file: str) -> bool:
        """Tell whether a file is wanted: only the one, if it has a name."""
        return file == self.file or not self.file


class Catalog:
    """Models and adapters by id, in catalog order."""

    def __init__(self, models: Sequence[ModelRow], adapters: Sequence[AdapterRow] = ()) -> None:
        self.models = {row.id: row for row in models}
        self.adapters = {row.id: row for row in adapters}

    def get(self, model_id: str) -> ModelRow:
        """Return a model's row; raises `UnknownModel` with the nearest ids."""
        row = self.models.get(model_id)
        if row is None:
            raise UnknownModel("model", model_id, difflib.get_close_matches(model_id, self.models, n=3, cutoff=0.4))
        return row

    def needs(self, row: ModelRow) -> dict[str, Weights]:
        """Return all that a model needs, by a name for errors."""
        base = self.models[row.weights]
        parts: dict[str, Weights] = {f"{base.id}.{name}": part for name, part in base.components.items()}
        if base.refiner is not None:
            parts[f"{base.id}.refiner"] = base.refiner
        if base.tiny_vae is not None:
            parts[f"{base.id}.tiny_vae"] = base.tiny_vae
        if base.gguf is not None and base.gguf.always:
            parts[f"{base.id}.gguf"] = base.gguf
        adapters = {f"adapter {each}": self.adapters[each] for each in row.adapters}
        return {base.id: base, **parts, **adapters}

    def default(self, offered: Collection[str]) -> ModelRow | None:
        """Return the default among the offered models, None if none is offered."""
        rows = [row for row in self.models.values() if row.id in offered]
        return next((row for row in rows if row.default), rows[0] if rows else None)
