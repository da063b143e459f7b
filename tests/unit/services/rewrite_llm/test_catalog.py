from pathlib import Path

import pytest

from services.rewrite_llm.catalog import RULES, Catalog, CatalogError, load


@pytest.fixture
def catalog() -> Catalog:
    return load()


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    (tmp_path / "sketch-qwen").mkdir()
    (tmp_path / "sketch-qwen" / "config.json").write_text("{}")
    return tmp_path


def test_the_shipped_catalog_is_sound(catalog: Catalog) -> None:
    assert {"sketch_qwen", RULES, "qwen2_5_1_5b"} <= set(catalog.models)


def test_rules_are_the_default(catalog: Catalog) -> None:
    assert catalog.including("")[1].id == RULES


@pytest.mark.parametrize("name", ["qwen2_5_1_5b", "Qwen/Qwen2.5-1.5B-Instruct"])
def test_a_row_is_found_by_id_or_hub(catalog: Catalog, name: str) -> None:
    assert catalog.including(name)[1].id == "qwen2_5_1_5b"


def test_a_hub_id_that_is_not_listed_gets_a_row(catalog: Catalog) -> None:
    extended, row = catalog.including("Qwen/Qwen3-0.6B")
    assert (row.id, row.hub, row.engine) == ("qwen3_0_6b", "Qwen/Qwen3-0.6B", "transformers")
    assert extended.models[row.id] == row


def test_a_folder_gets_a_row(catalog: Catalog, models_dir: Path) -> None:
    row = catalog.including(str(models_dir))[1]
    assert (row.source, row.hub) == (str(models_dir), "")


def test_a_file_of_ones_own_adds_rows_and_changes_fields(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(
        '[[model]]\nid = "qwen2_5_1_5b"\nunsafe_threshold = 0.6\n'
        '[[model]]\nid = "mine"\ndisplay_name = "Mine"\nengine = "transformers"\nsource = "/weights"\n'
    )
    catalog = load(mine)
    assert catalog.models["qwen2_5_1_5b"].unsafe_threshold == 0.6
    assert catalog.models["qwen2_5_1_5b"].hub == "Qwen/Qwen2.5-1.5B-Instruct"
    assert catalog.models["mine"].place == "/weights"


def test_every_mistake_is_named(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(
        '[[model]]\nid = "a"\ndisplay_name = "A"\nengine = "magic"\nhub = "o/n"\n'
        '[[model]]\nid = "b"\ndisplay_name = "B"\nengine = "transformers"\n'
        "[[modle]]\n"
    )
    with pytest.raises(CatalogError) as failure:
        load(mine)
    for part in ("model a: engine", "model b: row", "modle: unknown table"):
        assert part in str(failure.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"none\.toml"):
        load(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("name", "id"), [("qwen2.5:1.5b", "qwen2_5_1_5b"), ("Qwen/Qwen3-8B", "qwen3_8b"), ("模型", "custom")]
)
def test_a_model_behind_an_endpoint_needs_no_weights_here(catalog: Catalog, name: str, id: str) -> None:
    extended, row = catalog.including(name, remote=True)
    assert (row.id, row.engine, row.has_weights, row.bytes) == (id, "openai", False, 0)
    assert extended.models[row.id] == row
