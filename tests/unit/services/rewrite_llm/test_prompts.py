from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rewrite_llm.domain import MAX_CANDIDATES, Candidate
from services.rewrite_llm.prompts import (
    LABELS,
    NO,
    YES,
    Prompt,
    encode,
    one_line,
    rewrite_prompt,
    safety_prompt,
    selection_prompt,
)

FLUX, REALVIS = Candidate("flux_dev", "stylised, landscapes"), Candidate("realvis_xl", "portraits")


class Letters:
    """A tokenizer of code points, with a chat template that shows every turn."""

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool, enable_thinking: bool
    ) -> str:
        turns = "".join(f"[{turn['role']}]{turn['content']}[end]" for turn in conversation)
        return turns + "[assistant]" * add_generation_prompt

    def encode(self, text: str, *, add_special_tokens: bool, split_special_tokens: bool) -> list[int]:
        return list(map(ord, text))


def text_of(ids: Sequence[int]) -> str:
    return "".join(map(chr, ids))


def test_candidates_are_listed_by_id_whatever_the_callers_order() -> None:
    prompt = selection_prompt([REALVIS, FLUX], "a lake")
    assert prompt == selection_prompt([FLUX, REALVIS], "a lake")
    assert prompt.system.endswith("\nA flux_dev: stylised, landscapes\nB realvis_xl: portraits")
    assert (prompt.continuations, prompt.answers) == (("A", "B"), ("flux_dev", "realvis_xl"))


def test_every_candidate_that_the_contract_allows_has_a_label() -> None:
    assert len(set(LABELS)) == len(LABELS) == MAX_CANDIDATES
    many = [Candidate(str(number), "s") for number in range(MAX_CANDIDATES + 1)]
    with pytest.raises(ValueError, match="at most 64"):
        selection_prompt(many, "a lake")


def test_screening_has_two_answers() -> None:
    assert safety_prompt("a lake").continuations == (YES, NO)


def test_rewording_names_the_categories_once_and_sorted() -> None:
    assert "Remove: drugs, violence." in rewrite_prompt("a lake", ["violence", "drugs", "violence"]).question


def test_the_prefix_is_the_same_for_every_text() -> None:
    prefixes = {encode(selection_prompt([FLUX], text), Letters()).prefix for text in ("a", "b" * 500, "")}
    assert len(prefixes) == 1


def test_the_parts_put_together_are_the_rendered_conversation() -> None:
    encoded = encode(safety_prompt("a lake"), Letters())
    whole = text_of(encoded.prefix + encoded.rest)
    assert whole.startswith("[system]Is the image prompt unsafe?")
    assert whole.endswith("<prompt>a lake</prompt>\nUnsafe, yes or no?[end][assistant]")
    assert [text_of(each) for each in encoded.continuations] == [YES, NO]


def test_about_asks_the_same_of_another_text() -> None:
    assert safety_prompt("a lake").about("a <b>fox</b>") == safety_prompt("a <b>fox</b>")


@given(st.text())
def test_no_text_can_close_its_delimiter_or_begin_a_line(text: str) -> None:
    line = one_line(text)
    assert not set("<>\n\r\ue000\u2028") & set(line)
    assert one_line(line) == line


@given(st.text(), st.sampled_from([selection_prompt([FLUX], ""), safety_prompt(""), rewrite_prompt("", [])]))
def test_whatever_the_text_the_question_comes_last(text: str, prompt: Prompt) -> None:
    encoded = encode(prompt.about(text), Letters())
    assert text_of(encoded.rest).endswith(f"</prompt>\n{prompt.question}[end][assistant]")
