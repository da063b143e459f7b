"""What a device changes: what is usual on it, and how models are brought to it, each choice with its reason. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from servekit.device import DevicePlan
from services.imagegen.catalog import Catalog, Dtype, ModelRow
from services.imagegen.domain import Choice

Placement = Literal["whole", "float8", "gguf", "offloaded"]
"""`whole`: the weights are on the device. `float8`: there too, the denoising network's stored in 8 bits and computed in
16. `gguf`: the same with that network from a GGUF file, at some 4 bits. `offloaded`: in host memory, each layer brought
to the device when its turn comes."""

OFFLOADED_SHARE = 0.1
"""Share of offloaded weights to keep room for: the autoencoder, the layers at work and those on their way."""
_GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Profile:
    """How a model is brought to the device."""

    dtype: Dtype
    bytes: int
    """Estimated bytes of weights on the device."""
    placement: Placement = "whole"
    channels_last: bool = False
    """Whether convolutions' weights are laid out channels last."""
    compiled: bool = False
    """Whether the denoising network's repeated blocks are compiled when they first run."""
    choices: tuple[Choice, ...] = ()


def profiles(catalog: Catalog, device: DevicePlan, *, host_bytes: int, compiled: bool) -> dict[str, Profile]:
    """Return the profile of each model that has weights of its own.

    `host_bytes` is the host memory that offloaded weights may take, `compiled` whether to compile.
    """
    rows = [row for row in catalog.models.values() if not row.base]
    return {row.id: profile(row, device, host_bytes=host_bytes, compiled=compiled) for row in rows}


def profile(row: ModelRow, device: DevicePlan, *, host_bytes: int, compiled: bool) -> Profile:
    """Return how a row's weights are brought to a device."""
    dtype, why_dtype = _dtype(row, device)
    placement, size, why_there = _placement(row, dtype, device, host_bytes)
    sixteen_bit = dtype != "float32"
    choices = (
        Choice("dtype", dtype, why_dtype),
        Choice("weights", placement, why_there),
        Choice("memory_format", *_MEMORY_FORMATS[sixteen_bit]),
        Choice("compile", *_COMPILED[compiled]),
        Choice("attention", "whole", "fused attention never holds the whole matrix, so slices would save nothing"),
    )
    return Profile(dtype, size, placement, sixteen_bit, compiled, choices)


_MEMORY_FORMATS = {
    True: ("channels_last", "convolutions in 16 bits are no slower with it, and those of the autoencoder faster"),
    False: ("contiguous", "channels last gains nothing in float32"),
}
_COMPILED = {
    True: ("blocks", "the setting `compile` is on: repeated blocks are compiled when they first run"),
    False: ("off", "the setting `compile` is off"),
}


def _dtype(row: ModelRow, device: DevicePlan) -> tuple[Dtype, str]:
    """Return the data type of a row's weights on a device: the row's wish, but no float16 arithmetic on a CPU."""
    if row.dtype == "auto":
        return device.dtype, "the device's own"
    if row.dtype == "float16" and device.kind == "cpu":
        return device.dtype, "the row asks for float16, in which a CPU does not compute; this is the device's own"
    return row.dtype, "the row asks for it"


def _placement(row: ModelRow, dtype: Dtype, device: DevicePlan, host_bytes: int) -> tuple[Placement, int, str]:
    """Return the first placement that fits the budget, the bytes on the device, and why this one."""
    whole, budget = row.estimated_bytes(dtype), device.budget_bytes
    if row.gguf is not None and row.gguf.always:
        return "gguf", row.gguf.bytes, f"the row asks for {row.gguf.file}"
    if whole <= budget:
        return "whole", whole, f"{_gib(whole)} fit the budget of {_gib(budget)}"
    too_large = f"{_gib(whole)} do not fit the budget of {_gib(budget)}"
    if row.float8_bytes is not None and dtype != "float32" and row.float8_bytes <= budget:
        return "float8", row.float8_bytes, f"{too_large}; {_gib(row.float8_bytes)} do"
    if row.gguf is not None and row.gguf.bytes <= budget:
        return "gguf", row.gguf.bytes, f"{too_large}; {_gib(row.gguf.bytes)} with {row.gguf.file} do"
    share = int(OFFLOADED_SHARE * whole)
    if device.kind == "cuda" and whole <= host_bytes and share <= budget:
        return "offloaded", share, f"{too_large}, but the host's memory of {_gib(host_bytes)}: slow, but possible"
    return "whole", whole, f"{too_large}, nor is there a smaller way to hold them here: it will be refused"


def _gib(size: int) -> str:
    return f"{size / _GIB:.1f} GiB"


def fitted(catalog: Catalog, kind: str) -> tuple[Catalog, dict[str, tuple[Choice, ...]]]:
    """Return the catalog as a device of this kind serves it, and by model what was changed and why."""
    if kind != "cpu":
        return catalog, {}
    rows = {model: row if row.on_cpu is None else row.fewer(row.on_cpu) for model, row in catalog.models.items()}
    changes = {model: _changes(row, rows[model]) for model, row in catalog.models.items() if row != rows[model]}
    return Catalog(list(rows.values()), list(catalog.adapters.values())), changes


def _changes(usual: ModelRow, row: ModelRow) -> tuple[Choice, ...]:
    dear = "steps are dear on a CPU; a request may ask for more"
    found = []
    if row.steps.default != usual.steps.default:
        found.append(Choice("steps", f"{row.steps.default:g}", f"instead of {usual.steps.default:g}: {dear}"))
    if row.refine != usual.refine:
        found.append(Choice("refine", str(row.refine).lower(), dear))
    if row.guided != usual.guided:
        share = f"{row.guided:.0%}"
        found.append(Choice("guided", share, f"a second pass in the first {share} of the steps only: {dear}"))
    if row.cache != usual.cache and row.cache is not None:
        told = f"1 step in {row.cache.interval} computed after the first {row.cache.first}"
        found.append(Choice("cache", told, f"late predictions change slowly and are forecast from the last: {dear}"))
    return tuple(found)


def choices(
    catalog: Catalog, found: Mapping[str, Profile], changes: Mapping[str, tuple[Choice, ...]]
) -> dict[str, tuple[Choice, ...]]:
    """Return all that was chosen, by model."""
    return {row.id: (*found[row.weights].choices, *changes.get(row.id, ())) for row in catalog.models.values()}
