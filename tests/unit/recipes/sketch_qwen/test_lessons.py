from itertools import islice

import pytest

from recipes.sketch_qwen.lessons import Lesson, Lessons
from services.rewrite_llm.prompts import NO, YES, Prompt


@pytest.fixture
def lessons() -> Lessons:
    return Lessons(seed=4)


def test_the_same_seed_draws_the_same_lessons() -> None:
    first, second = Lessons(9), Lessons(9)
    assert [first.draw(5) for _ in range(10)] == [second.draw(5) for _ in range(10)]


def test_the_texts_of_a_lesson_share_their_system_message(lessons: Lessons) -> None:
    drawn = [lessons.draw(6) for _ in range(30)]
    assert all(len({prompt.system for prompt in each.prompts}) == 1 for each in drawn)


def test_a_selection_is_answered_by_one_of_its_labels(lessons: Lessons) -> None:
    drawn = [lessons.selection(6) for _ in range(20)]
    assert all(answer in prompt.continuations for each in drawn for prompt, answer in _pairs(each))


def test_safety_is_answered_yes_and_no(lessons: Lessons) -> None:
    answers = [answer for _ in range(20) for answer in lessons.safety(10).answers]
    assert set(answers) == {YES, NO}
    assert 0.35 < answers.count(YES) / len(answers) < 0.6


def test_a_rewriting_names_the_categories_to_remove(lessons: Lessons) -> None:
    drawn = [lessons.rewriting(8) for _ in range(10)]
    assert all(prompt.question.startswith("Remove: ") and answer for each in drawn for prompt, answer in _pairs(each))


def test_texts_never_break_the_line(lessons: Lessons) -> None:
    assert all("\n" not in prompt.text for _ in range(30) for prompt in lessons.draw(6).prompts)


def test_the_tokenizer_reads_what_the_model_reads(lessons: Lessons) -> None:
    assert all(isinstance(line, str) and line for line in islice(lessons.texts(), 200))


def _pairs(lesson: Lesson) -> list[tuple[Prompt, str]]:
    return list(zip(lesson.prompts, lesson.answers, strict=True))
