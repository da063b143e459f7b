"""How long a prompt is, told before a model is loaded."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.imagegen.catalog import Catalog
from services.imagegen.engines.tokens import Tokenizers
from services.imagegen.engines.weights import WeightStore
from tests.contract.services.imagegen import runs
from tests.contract.services.imagegen.conftest import Build
from tests.unit.services.imagegen import rows

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' schedulers
PROMPT = "a red lake " * 4
WITHOUT_T5 = {**rows.SD3, "id": "without_t5", "without": ["text_encoder_3", "tokenizer_3"]}


def tokenizers(base: dict[str, Any], models_dir: Path) -> Tokenizers:
    return Tokenizers(Catalog([rows.row(base)]), WeightStore(models_dir, token=None, download=False))


@pytest.mark.parametrize(
    "base", [rows.FLUX, rows.SDXL, rows.SD3, WITHOUT_T5, rows.HIDREAM, rows.GENERIC], ids=lambda base: base["id"]
)
async def test_the_tokenizer_on_disk_counts_as_the_engine_does(
    build: Build, models_dir: Path, base: dict[str, Any]
) -> None:
    counted = await tokenizers(base, models_dir)(base["id"], PROMPT)

    assert counted == build(base).prepare(runs.job(prompt=PROMPT)).prompt_tokens


async def test_a_tokenizer_that_is_left_out_need_not_be_there(models_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(models_dir / "tiny_sd3", tmp_path / "tiny_sd3")
    shutil.rmtree(tmp_path / "tiny_sd3" / "tokenizer_3")

    assert await tokenizers(WITHOUT_T5, tmp_path)("without_t5", PROMPT) == 4 * 8 + 2  # CLIP's: letters, and two marks


def forget_index(models: Path) -> None:
    index = models / "tiny_sd3" / "model_index.json"
    index.rename(index.with_name("config.json"))


def forget_folder(models: Path) -> None:
    shutil.rmtree(models / "tiny_sd3" / "tokenizer_3")


def forget_component(models: Path) -> None:
    shutil.rmtree(models / "tiny_llama")


def halve(models: Path) -> None:
    file = models / "tiny_sd3" / "tokenizer_3" / "tokenizer.json"
    file.write_text(file.read_text()[:300])


@pytest.mark.parametrize(
    ("base", "lose"),
    [(rows.SD3, forget_index), (rows.SD3, forget_folder), (rows.SD3, halve), (rows.HIDREAM, forget_component)],
)
async def test_what_cannot_be_read_counts_nothing_until_it_can(
    models_dir: Path, tmp_path: Path, base: dict[str, Any], lose: Callable[[Path], None]
) -> None:
    for each in (base["source"], "tiny_llama"):
        shutil.copytree(models_dir / each, tmp_path / each)
    lose(tmp_path)
    count = tokenizers(base, tmp_path)
    before = await count(base["id"], PROMPT)
    for each in (base["source"], "tiny_llama"):
        shutil.copytree(models_dir / each, tmp_path / each, dirs_exist_ok=True)

    assert (before, await count(base["id"], PROMPT)) == (0, await tokenizers(base, models_dir)(base["id"], PROMPT))
