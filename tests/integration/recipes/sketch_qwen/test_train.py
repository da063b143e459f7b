from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from recipes.sketch.budget import Budget
from recipes.sketch.session import Session
from recipes.sketch_qwen.embeddings import TopicBag, learn_embeddings
from recipes.sketch_qwen.lessons import TOPICS, Lessons
from recipes.sketch_qwen.model import Size, build_model, save
from recipes.sketch_qwen.tokenizer import train_tokenizer
from recipes.sketch_qwen.train import train
from recipes.sketch_qwen.vocabulary import FIELDS

SMALL = Size(hidden=32, layers=2, heads=2, key_value_heads=1, feed_forward=48)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(1, lines=3000, vocabulary=1024)


def test_an_interrupted_run_goes_on_where_it_was(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    torch.manual_seed(0)
    first = build_model(tokenizer, SMALL)
    train(first, tokenizer, Session(tmp_path, Budget(steps=2)), seed=1, embedding_steps=2)
    second = build_model(tokenizer, SMALL)
    session = Session(tmp_path, Budget(steps=2))
    train(second, tokenizer, session, seed=1, embedding_steps=2)
    assert session.budget.step == 2
    for ours, theirs in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_what_is_saved_is_a_qwen2_model_in_bfloat16(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    model = build_model(tokenizer, SMALL)
    save(model, tokenizer, tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert (type(loaded).__name__, loaded.dtype) == ("Qwen2ForCausalLM", torch.bfloat16)
    assert again.encode("a lake at dusk") == tokenizer.encode("a lake at dusk")
    assert model.dtype == torch.float32


def test_learned_embeddings_tell_the_fields_apart(tokenizer: PreTrainedTokenizerFast) -> None:
    torch.manual_seed(0)
    lessons = Lessons(3)
    embeddings = learn_embeddings(TopicBag(tokenizer, 32), len(tokenizer), lessons, steps=60)

    def mean(text: str) -> torch.Tensor:
        return embeddings[tokenizer.encode(text, add_special_tokens=False)].mean(0)

    drawn = [(text, topic) for text, topic in lessons.topics(1500) if topic in FIELDS]
    centres = {
        field: torch.stack([mean(text) for text, topic in drawn[:800] if topic == field]).mean(0) for field in FIELDS
    }
    rest = drawn[800:]
    nearest = [min(FIELDS, key=lambda field: float((centres[field] - mean(text)).norm())) for text, _ in rest]
    right = sum(found == topic for found, (_, topic) in zip(nearest, rest, strict=True))
    assert len(TOPICS) == 12
    assert right / len(rest) > 0.6
