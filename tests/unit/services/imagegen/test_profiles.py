from dataclasses import replace
from typing import Any

import pytest

from servekit.device import DevicePlan
from services.imagegen.catalog import Catalog
from services.imagegen.domain import Choice
from services.imagegen.profiles import Profile, choices, fitted, profile, profiles
from tests.unit.services.imagegen import rows

ON_CPU = {"steps": 2, "refine": False, "guided": 0.5, "cache": {"interval": 2, "first": 1}}
GIB = 1024**3
CPU = DevicePlan("cpu", "cpu", "a CPU", "bfloat16", None, (), 2, 32 * GIB, 24 * GIB, "it is there")
GPU = replace(CPU, kind="cuda", device="cuda:0", name="a GPU", capability=(9, 0))
LARGE = {"bytes": {"bfloat16": 30 * GIB}, "float8_bytes": 20 * GIB, "dtype": "bfloat16"}
Q4 = {"source": "q4", "file": "q4.gguf", "bytes": 9 * GIB}


def planned(device: DevicePlan, *, host_bytes: int = 0, compiled: bool = False, **row: Any) -> Profile:
    return profile(rows.row(rows.FLUX, **row), device, host_bytes=host_bytes, compiled=compiled)


def reason(of: Profile, name: str) -> str:
    return next(f"{each.value}: {each.reason}" for each in of.choices if each.name == name)


@pytest.mark.parametrize(
    ("device", "wish", "taken", "why"),
    [
        (CPU, "auto", "bfloat16", "the device's own"),
        (CPU, "float32", "float32", "the row asks for it"),
        (CPU, "float16", "bfloat16", "a CPU does not compute"),
        (GPU, "float16", "float16", "the row asks for it"),
    ],
)
def test_the_data_type_is_the_row_s_wish_where_the_device_computes_in_it(
    device: DevicePlan, wish: str, taken: str, why: str
) -> None:
    found = planned(device, dtype=wish)

    assert found.dtype == taken
    assert why in reason(found, "dtype")


@pytest.mark.parametrize(
    ("device", "row", "host", "placement", "size", "why"),
    [
        (GPU, {"bytes": {"bfloat16": 24 * GIB}}, 0, "whole", 24, "24.0 GiB fit the budget of 24.0 GiB"),
        (GPU, {}, 0, "float8", 20, "30.0 GiB do not fit the budget of 24.0 GiB; 20.0 GiB do"),
        (CPU, {}, 0, "float8", 20, "20.0 GiB do"),
        (GPU, {"gguf": Q4}, 0, "float8", 20, "20.0 GiB do"),
        (GPU, {"gguf": Q4, "float8_bytes": 25 * GIB}, 40, "gguf", 9, "24.0 GiB; 9.0 GiB with q4.gguf do"),
        (CPU, {"gguf": Q4, "float8_bytes": None}, 0, "gguf", 9, "9.0 GiB with q4.gguf do"),
        (GPU, {"gguf": {**Q4, "always": True}}, 0, "gguf", 9, "the row asks for q4.gguf"),
        (GPU, {"gguf": {**Q4, "bytes": 25 * GIB}, "float8_bytes": None}, 40, "offloaded", 3, "but the host's memory"),
        (GPU, {"float8_bytes": None}, 40, "offloaded", 3, "but the host's memory of 40.0 GiB"),
        (GPU, {"float8_bytes": 25 * GIB}, 40, "offloaded", 3, "but the host's memory"),
        (GPU, {"float8_bytes": None}, 29, "whole", 30, "it will be refused"),
        (CPU, {"float8_bytes": None}, 40, "whole", 30, "it will be refused"),
        (GPU, {"dtype": "float32", "bytes": {"float32": 30 * GIB}}, 0, "whole", 30, "it will be refused"),
    ],
)
def test_the_first_placement_that_fits_is_taken(
    device: DevicePlan, row: dict[str, Any], host: int, placement: str, size: int, why: str
) -> None:
    found = planned(device, host_bytes=host * GIB, **{**LARGE, **row})

    assert (found.placement, found.bytes) == (placement, size * GIB)
    assert why in reason(found, "weights")


@pytest.mark.parametrize(("dtype", "channels_last"), [("bfloat16", True), ("float32", False)])
def test_16_bit_convolutions_are_laid_out_channels_last(dtype: str, channels_last: bool) -> None:
    assert planned(CPU, dtype=dtype).channels_last is channels_last


@pytest.mark.parametrize("compiled", [True, False])
def test_compiling_is_a_setting(compiled: bool) -> None:
    found = planned(CPU, compiled=compiled)

    assert found.compiled is compiled
    assert "the setting `compile`" in reason(found, "compile")


def test_everything_chosen_has_a_reason() -> None:
    found = planned(CPU)

    assert [each.name for each in found.choices] == ["dtype", "weights", "memory_format", "compile", "attention"]
    assert all(each.value and each.reason for each in found.choices)


def test_models_that_share_weights_share_a_profile() -> None:
    catalog = Catalog([rows.row(rows.FLUX), rows.row({**rows.FLUX, "id": "other", "base": "tiny_flux"})])
    found = profiles(catalog, CPU, host_bytes=0, compiled=False)
    fewer = Choice("steps", "2", "few")

    told = choices(catalog, found, {"other": (fewer,)})

    assert list(found) == ["tiny_flux"]
    assert told == {"tiny_flux": found["tiny_flux"].choices, "other": (*found["tiny_flux"].choices, fewer)}


def test_a_cpu_takes_fewer_steps_and_no_refiner_and_ends_guidance_early() -> None:
    catalog, changes = fitted(Catalog([rows.row(rows.REFINED, on_cpu=ON_CPU), rows.row(rows.FLUX)]), "cpu")
    row = catalog.get("tiny_refined")

    assert (row.steps.default, row.steps.max, row.refine, row.guided) == (2, 50, False, 0.5)
    assert catalog.get("tiny_flux") == rows.row(rows.FLUX)
    assert [(each.name, each.value) for each in changes["tiny_refined"]] == [
        ("steps", "2"),
        ("refine", "false"),
        ("guided", "50%"),
        ("cache", "1 step in 2 computed after the first 1"),
    ]
    assert all("a request may ask for more" in each.reason for each in changes["tiny_refined"])


def test_a_gpu_changes_nothing() -> None:
    catalog = Catalog([rows.row(rows.REFINED, on_cpu=ON_CPU)])
    assert fitted(catalog, "cuda") == (catalog, {})


def test_adapters_are_kept() -> None:
    catalog = Catalog([rows.row(rows.SDXL, on_cpu={"steps": 2})], [])
    fewer, changes = fitted(catalog, "cpu")
    assert fewer.adapters == catalog.adapters
    assert [each.reason for each in changes["tiny_sdxl"]] == [
        "instead of 3: steps are dear on a CPU; a request may ask for more"
    ]


def test_a_model_of_few_steps_keeps_them() -> None:
    few = rows.row(rows.SDXL, on_cpu={"steps": 35})
    catalog, changes = fitted(Catalog([few]), "cpu")
    assert (catalog.get("tiny_sdxl"), changes) == (few, {})
