"""The bundled model as it lies in the repository: complete, small, finite, and following prompts."""

from pathlib import Path

import numpy as np
import pytest
import torch

from recipes.scenes.canvas import SIZE
from recipes.scenes.scene import FIELDS
from recipes.sketch.evaluate import accuracy, held_out_cases, overall, painter_of, score
from recipes.sketch.library import Pipeline
from recipes.sketch.painting import Settings, load, paint
from recipes.sketch.tokens import MAX_TOKENS, make_t5_tokenizer

MODELS = Path("models")
SKETCH = MODELS / "sketch"
PROMPT = "a serene landscape with mountains and a lake at sunset"
QUICK = Settings(steps=4, guidance=2.5)


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return load(SKETCH)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_it_draws_finite_pictures_in_either_precision(dtype: torch.dtype) -> None:
    picture = paint(load(SKETCH, dtype), [PROMPT], [0], QUICK)[0]
    assert picture.shape == (SIZE, SIZE, 3)
    assert picture.std() > 5


def test_the_same_seed_draws_the_same_picture(pipeline: Pipeline) -> None:
    first, second = (paint(pipeline, [PROMPT], [5], QUICK)[0] for _ in range(2))
    assert np.array_equal(first, second)


def test_a_picture_is_the_same_alone_and_in_a_batch(pipeline: Pipeline) -> None:
    alone = paint(pipeline, [PROMPT], [5], QUICK)[0].astype(int)
    together = paint(pipeline, ["a red star logo", PROMPT], [4, 5], QUICK)[1].astype(int)
    assert np.abs(alone - together).max() <= 2


def test_its_weights_fit_the_repository() -> None:
    weights = [path.stat().st_size for folder in MODELS.glob("sketch*") for path in folder.rglob("*.safetensors")]
    assert 0 < sum(weights) <= 30_000_000


def test_its_tokenizers_know_common_words_whole(pipeline: Pipeline) -> None:
    words = len(PROMPT.split())
    assert pipeline.tokenizer_2(PROMPT).input_ids == make_t5_tokenizer()(PROMPT).input_ids
    assert len(pipeline.tokenizer_2(PROMPT).input_ids) == words + 1
    assert len(pipeline.tokenizer(PROMPT).input_ids) == words + 2
    assert pipeline.tokenizer.model_max_length == MAX_TOKENS


def test_held_out_prompts_are_followed(pipeline: Pipeline) -> None:
    cases = [case for field in FIELDS for case in held_out_cases(field, 4)]
    result = score(cases, painter_of(pipeline, Settings())(cases))
    assert overall(result) > 0.45
    assert accuracy([attributes["background"] for attributes in result.values() if "background" in attributes]) > 0.7


@pytest.mark.parametrize("field", FIELDS)
def test_a_specialist_changes_the_picture(pipeline: Pipeline, field: str) -> None:
    plain = paint(pipeline, [PROMPT], [0], QUICK)[0]
    pipeline.load_lora_weights(MODELS / f"sketch-{field}")
    special = paint(pipeline, [PROMPT], [0], QUICK)[0]
    pipeline.unload_lora_weights()
    assert not np.array_equal(plain, special)
    assert np.array_equal(plain, paint(pipeline, [PROMPT], [0], QUICK)[0])
