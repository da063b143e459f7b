from services.imagegen.catalog import Catalog
from services.imagegen.profiles import fitted
from tests.unit.services.imagegen import rows

ON_CPU = {"steps": 2, "refine": False}


def test_a_cpu_takes_fewer_steps_and_no_refiner() -> None:
    catalog, changes = fitted(Catalog([rows.row(rows.REFINED, on_cpu=ON_CPU), rows.row(rows.FLUX)]), "cpu")
    row = catalog.get("tiny_refined")
    assert (row.steps.default, row.steps.max, row.refine) == (2, 50, False)
    assert catalog.get("tiny_flux") == rows.row(rows.FLUX)
    assert changes == {"tiny_refined": "2 steps instead of 3 and no refiner unless asked for: steps are dear here"}


def test_a_gpu_changes_nothing() -> None:
    catalog = Catalog([rows.row(rows.REFINED, on_cpu=ON_CPU)])
    assert fitted(catalog, "cuda") == (catalog, {})


def test_adapters_are_kept() -> None:
    catalog = Catalog([rows.row(rows.SDXL, on_cpu={"steps": 2})], [])
    fewer, changes = fitted(catalog, "cpu")
    assert fewer.adapters == catalog.adapters
    assert changes["tiny_sdxl"].startswith("2 steps instead of 3 unless asked for")


def test_a_model_of_few_steps_keeps_them() -> None:
    few = rows.row(rows.SDXL, on_cpu={"steps": 35})
    catalog, changes = fitted(Catalog([few]), "cpu")
    assert (catalog.get("tiny_sdxl"), changes) == (few, {})
