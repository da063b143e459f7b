import pytest
import torch
from transformers import PreTrainedTokenizerFast

from recipes.sketch_qwen.batches import Encoder, collate
from recipes.sketch_qwen.lessons import Lessons
from recipes.sketch_qwen.model import Size, build_model, logits
from recipes.sketch_qwen.tokenizer import END, train_tokenizer
from services.rewrite_llm.prompts import LABELS, NO, YES, encode

CPU = torch.device("cpu")
SMALL = Size(hidden=32, layers=2, heads=2, key_value_heads=1, feed_forward=48)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(1, lines=3000, vocabulary=1024)


def test_answers_are_single_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    lengths = {word: len(tokenizer.encode(word, add_special_tokens=False)) for word in (*LABELS, YES, NO)}
    assert set(lengths.values()) == {1}


def test_special_tokens_in_a_text_are_plain(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer.encode(END, add_special_tokens=False, split_special_tokens=True)
    assert tokenizer.eos_token_id not in ids


def test_any_text_survives_encoding(tokenizer: PreTrainedTokenizerFast) -> None:
    text = "Été — 夕焼け 🙂 \u05d0"
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_texts_that_share_a_prefix_do_not_see_each_other(tokenizer: PreTrainedTokenizerFast) -> None:
    torch.manual_seed(0)
    model = build_model(tokenizer, SMALL).eval()
    encoder = Encoder(tokenizer, 1024)
    lesson = Lessons(2).selection(5)
    together = logits(model, collate([encoder.row(lesson)], CPU))
    for place, prompt in enumerate(lesson.prompts):
        encoded = encode(prompt, tokenizer)
        alone = model(torch.tensor([encoded.prefix + encoded.rest])).logits[0, -1]
        torch.testing.assert_close(together[place], alone, atol=1e-4, rtol=1e-4)


def test_a_row_holds_what_fits(tokenizer: PreTrainedTokenizerFast) -> None:
    row = Encoder(tokenizer, 400).row(Lessons(2).safety(60))
    assert 1 <= len(row.parts) < 60
    assert len(row.prefix) + sum(len(part.ids) for part in row.parts) <= 400


def test_a_lesson_that_does_not_fit_is_an_error(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ValueError, match="does not fit 20 tokens"):
        Encoder(tokenizer, 20).row(Lessons(2).safety(1))


def test_every_answer_weighs_the_same(tokenizer: PreTrainedTokenizerFast) -> None:
    row = Encoder(tokenizer, 600).row(Lessons(2).rewriting(4))
    batch = collate([row], CPU)
    assert batch.weights.sum().item() == pytest.approx(len(row.parts))
