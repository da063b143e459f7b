import re
import tomllib
from pathlib import Path

import pytest

from servekit.residency import UnknownModel
from services.imagegen import reading
from services.imagegen.catalog import Catalog
from services.imagegen.engines.registry import FAMILIES
from services.imagegen.reading import CatalogError

ROW = """
[[model]]
id = "mine"
display_name = "Mine"
family = "sdxl"
hub = "me/mine"
license = "MIT"
strengths = "Watercolours of cats and dogs."
steps = { default = 20, min = 1, max = 50 }
guidance = { default = 5, min = 0, max = 10 }
size = { default = [512, 512], min = 256, max = 1024, multiple_of = 8 }
bytes = { float16 = 5_000_000_000 }
"""


def load(tmp_path: Path, text: str = "") -> Catalog:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    return reading.load(file, families=FAMILIES)


def mistakes(tmp_path: Path, text: str) -> str:
    with pytest.raises(CatalogError) as caught:
        load(tmp_path, text)
    return str(caught.value)


def test_the_shipped_catalog_has_the_models_of_the_notes() -> None:
    shipped = reading.load(families=FAMILIES)

    assert {"sketch", "flux_dev", "realvis_xl", "sd3_medium", "logo_sdxl", "sdxl"} <= set(shipped.models)
    assert [row.id for row in shipped.models.values() if row.default] == ["sketch"]


def test_the_figures_of_the_notes_are_kept() -> None:
    models = reading.load(families=FAMILIES).models

    assert (models["flux_dev"].steps.default, models["flux_dev"].guidance.default) == (24, 4.5)
    assert models["logo_sdxl"].exclusive
    assert models["logo_sdxl"].fallback == "flux_dev"
    assert models["logo_sdxl"].size.default == (768, 768)


def test_a_row_with_a_base_takes_over_its_fields_and_shares_its_weights() -> None:
    models = reading.load(families=FAMILIES).models
    landscape, sketch = models["sketch_landscape"], models["sketch"]

    assert (landscape.weights, landscape.size, landscape.steps) == ("sketch", sketch.size, sketch.steps)
    assert (landscape.adapters, landscape.default) == (("sketch-landscape",), False)


def test_a_user_adds_a_model(tmp_path: Path) -> None:
    assert load(tmp_path, ROW).get("mine").hub == "me/mine"


def test_a_user_changes_single_fields_of_a_shipped_row(tmp_path: Path) -> None:
    row = load(tmp_path, '[[model]]\nid = "sdxl"\nsteps = { default = 30, min = 1, max = 40 }').get("sdxl")

    assert (row.steps.default, row.hub) == (30, "stabilityai/stable-diffusion-xl-base-1.0")


def test_an_environment_name_replaces_a_hub_id() -> None:
    row = reading.load(families=FAMILIES, hubs={"logo_sdxl": "me/logos"}).get("logo_sdxl")

    assert row.place == "me/logos"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ((r'family = "sdxl"', 'family = "vae"'), r"mine.*family.*'vae'.*flux, sdxl"),
        ((r"max = 50", "max = 5"), r"mine\.toml.*row 1 \(mine\).*steps.*min <= default <= max"),
        ((r"multiple_of = 8", "multiple_of = 7"), r"size.*multiple of multiple_of = 7"),
        ((r"max = 1024", "max = 9000"), r"size\.max.*less than or equal to 4096"),
        ((r'hub = "me/mine"', ""), r"either source .* or hub"),
        ((r'license = "MIT"', ""), r"license.*[Ff]ield required"),
        ((r'license = "MIT"', 'licence = "MIT"'), r"licence: unknown field; allowed are .*license"),
        ((r"float16 = 5_000_000_000", "int3 = 5"), r"bytes\.int3.*'float32', 'bfloat16' or 'float16'"),
        ((r"\{ float16 = 5_000_000_000 \}", "{}"), r"bytes.*at least one of float32"),
        ((r'license = "MIT"', 'license = "MIT"\nfallback = "nobody"'), r"mine.*fallback.*'nobody'.*flux_dev"),
        ((r'license = "MIT"', 'license = "MIT"\nadapters = ["x"]'), r"mine.*adapters.*'x'.*sketch-logo"),
        ((r'license = "MIT"', 'license = "MIT"\ndefault = true'), r"only one model can be the default"),
        (
            (r'license = "MIT"', 'license = "MIT"\nschedulers = ["euler", "eular"]'),
            r"mine\.toml: row 1 \(mine\): schedulers: sdxl has no eular; allowed are euler, .*unipc",
        ),
        (
            (r'family = "sdxl"', 'family = "hidream"\ncapabilities = ["inpainting"]'),
            r"capabilities: hidream cannot do inpainting; allowed are .*negative_prompt",
        ),
        (
            (r'family = "sdxl"', 'family = "flux"\nrefiner = { hub = "me/refiner" }'),
            r"refiner: flux takes none",
        ),
        (
            (r'family = "sdxl"', 'family = "generic"\nfast = { steps = 9, guided = 0.5 }'),
            r"fast\.guided: generic is guided to the end; allowed is 1",
        ),
        (
            (r'license = "MIT"', 'license = "MIT"\nfast = { steps = 9, decoder = "tiny" }'),
            r"fast\.decoder: mine has no tiny_vae, so allowed is full",
        ),
        ((r'license = "MIT"', 'license = "MIT"\ndecoder = "tiny"'), r"\(mine\): decoder: mine has no tiny_vae"),
        (
            (r'license = "MIT"', 'license = "MIT"\nfast = { steps = 9, decoder = "small" }'),
            r"fast\.decoder.*'full' or 'tiny'",
        ),
        (
            (r'family = "sdxl"', 'family = "generic"\ntiny_vae = { hub = "a/b" }'),
            r"tiny_vae: generic takes none",
        ),
        (
            (r'license = "MIT"', 'license = "MIT"\nfast = { steps = 9, cache = { interval = 1 } }'),
            r"fast\.cache\.interval.*greater than or equal to 2",
        ),
        (
            (r'license = "MIT"', 'license = "MIT"\nrefiner = { hub = "a/b", start = 1.5 }'),
            r"refiner\.start.*less than 1",
        ),
        (
            (r'hub = "me/mine"', 'hub = "https://huggingface.co/me/mine"'),
            r"mine\.toml: row 1 \(mine\): hub: .*must be owner/name",
        ),
        ((r"min = 1, max = 50", "min = 0, max = 50"), r"steps\.min: .*greater than or equal to 1 \(got 0\)"),
        (
            (r'license = "MIT"', 'license = "MIT"\nadapters = ["sketch-logo"]'),
            r"\(mine\): adapters: 'sketch-logo' is for the weights of sketch, not of mine; allowed are none",
        ),
        (
            (r'family = "sdxl"', 'family = "generic"\nadapters = ["sketch-logo"]'),
            r"\(mine\): adapters: generic takes none",
        ),
        (
            (r'license = "MIT"', 'license = "MIT"\nbase = "mine"'),
            r"\(mine\): base: 'mine' must be another model with weights of its own: sketch, flux_dev",
        ),
        ((r'license = "MIT"', 'license = "MIT"\nbase = "nobody"'), r"\(mine\): base: 'nobody' must be another model"),
        ((r'license = "MIT"', 'license = "MIT"\nbase = ["sketch"]'), r"\(mine\): base: .\['sketch'\]. must be another"),
        ((r'id = "mine"', 'id = "Mine!"'), r"\(Mine!\).*id.*pattern"),
        ((r"\[\[model\]\]", "[model]"), r"write rows as \[\[model\]\]"),
        ((r"\[\[model\]\]", "[[modell]]"), r"modell: unknown table; allowed are model, adapter"),
        ((r'id = "mine"', "id = "), r"mine\.toml.*[Ii]nvalid"),
    ],
)
def test_a_mistake_is_named_with_what_is_allowed(tmp_path: Path, change: tuple[str, str], told: str) -> None:
    text, count = re.subn(change[0], change[1], ROW)

    assert count
    assert re.search(told, mistakes(tmp_path, text))


ADAPTER = """
[[adapter]]
id = "flat"
base = "{base}"
hub = "me/flat"
license = "MIT"
"""
LOGO = """
[[model]]
id = "my_logo"
base = "{base}"
display_name = "My Logo"
strengths = "Logos of cats and dogs."
adapters = ["sketch-logo"]
"""


def test_a_row_wears_the_adapters_of_its_base(tmp_path: Path) -> None:
    assert load(tmp_path, LOGO.format(base="sketch")).get("my_logo").weights == "sketch"


@pytest.mark.parametrize("text", [LOGO, LOGO + 'family = "flux"', ADAPTER])
def test_a_base_has_weights_of_its_own(tmp_path: Path, text: str) -> None:
    told = mistakes(tmp_path, text.format(base="sketch_logo"))

    assert re.fullmatch(
        r"mine\.toml: row 1 \(\w+\): base: 'sketch_logo' must be a(nother)? model with weights of its own: sketch, .*",
        told,
    )


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    told = mistakes(tmp_path, ROW.replace("max = 50", "max = 5").replace('license = "MIT"', "").replace("= 8", "= 7"))

    assert len(told.splitlines()) == 3


def test_an_id_may_occur_once_in_a_file(tmp_path: Path) -> None:
    assert "occurs twice" in mistakes(tmp_path, ROW + ROW)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"absent\.toml"):
        reading.load(tmp_path / "absent.toml", families=FAMILIES)


def test_an_unknown_model_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownModel) as caught:
        reading.load(families=FAMILIES).get("flux_dv")

    assert "flux_dev" in caught.value.nearest


def test_the_default_is_one_of_the_offered() -> None:
    shipped = reading.load(families=FAMILIES)
    found = [row.id for row in map(shipped.default, [{"sketch", "sdxl"}, {"sdxl"}, set()]) if row is not None]

    assert found == ["sketch", "sdxl"]


def test_bytes_scale_with_the_data_type() -> None:
    row = reading.load(families=FAMILIES).get("sd3_medium")

    assert row.estimated_bytes("float32") == 2 * row.estimated_bytes("float16")


def test_no_shipped_model_cuts_corners_unless_the_tier_fast_is_asked_for() -> None:
    models = reading.load(families=FAMILIES).models.values()
    usual = [each for row in models for each in (row, row.best) if each is not None]

    assert {(each.cache, each.decoder) for each in usual} == {(None, "full")}
    assert all(row.fast is None or row.fast.cache is None for row in models if row.steps.default < 14)


def test_on_a_cpu_no_more_is_forecast_than_late_steps_after_the_guidance() -> None:
    found = [row.on_cpu for row in reading.load(families=FAMILIES).models.values() if row.on_cpu is not None]

    assert {each.decoder for each in found} == {"full"}
    assert [each.cache.first for each in found if each.cache] == [round(each.guided * each.steps) for each in found]


def test_a_row_over_other_weights_decodes_with_their_tiny_autoencoder() -> None:
    catalog = reading.load(families=FAMILIES)

    assert "sdxl.tiny_vae" in catalog.needs(catalog.get("sdxl_lightning"))


def test_every_field_of_the_shipped_file_is_known() -> None:
    tables = tomllib.loads(reading.SHIPPED.read_text())

    assert set(tables) == {"model", "adapter"}
