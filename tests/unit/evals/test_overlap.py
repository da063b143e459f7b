import pytest

from evals.dataset import load
from evals.overlap import NEAR, Index, grams, likeness, normalised
from recipes.sketch_qwen.lessons import Lessons
from recipes.sketch_qwen.vocabulary import load_languages

INDEX = Index(each.text for each in load("test"))


def test_normalised_forgets_case_accents_and_punctuation() -> None:
    assert normalised("  Été,  À la MER! ") == "ete a la mer"


@pytest.mark.parametrize(
    "copy", ["a red fox in snow", "A red fox, in snow.", "a réd  fox in snow!", "a red fox in the snow"]
)
def test_near_duplicates_are_found(copy: str) -> None:
    value, found = Index(["a red fox in snow", "a blue whale"]).nearest(copy)
    assert (value >= NEAR, found) == (True, "a red fox in snow")


def test_different_texts_are_not_near() -> None:
    assert likeness(grams("a red fox"), grams("logo for a bakery")) < NEAR


def test_a_text_that_shares_nothing_has_no_nearest() -> None:
    assert Index(["abc"]).nearest("xyz") == (0.0, "")


def test_no_training_text_repeats_a_test_prompt() -> None:
    lessons = Lessons(seed=7)
    drawn = [prompt.text for _ in range(150) for prompt in lessons.draw(16).prompts]
    assert [text for text in drawn if INDEX.nearest(text)[0] >= NEAR] == []


def test_no_building_block_repeats_a_test_prompt() -> None:
    blocks = [
        phrase
        for language in load_languages()
        for lists in language.fields.values()
        for phrases in lists.values()
        for phrase in phrases
    ]
    blocks += [
        pair.text
        for language in load_languages()
        for pairs in (*language.unsafe.values(), *language.innocent.values())
        for pair in pairs
    ]
    assert [block for block in blocks if INDEX.nearest(block)[0] >= NEAR] == []
