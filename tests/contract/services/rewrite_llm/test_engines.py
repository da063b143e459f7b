"""What every engine must do."""

import math

import pytest

from services.rewrite_llm.domain import Candidate
from services.rewrite_llm.ports import Engine
from services.rewrite_llm.rewrite import finish

CANDIDATES = (
    Candidate("realvis_xl", "Photorealistic portraits and people.", ("portrait",)),
    Candidate("flux_dev", "General purpose: stylised art, landscapes.", ("general", "landscape")),
    Candidate("logo_sdxl", "Logos, emblems and lettering.", ("logo",)),
)
TEXTS = ["a lake at dawn", "portrait of an old sailor with a long white beard", "逆光の写真", "logo: <b>|ACME|</b>"]


def test_scores_every_candidate_for_every_text(engine: Engine) -> None:
    scores = engine.choose(CANDIDATES, TEXTS)
    assert [len(each) for each in scores] == [3, 3, 3, 3]
    assert all(math.isfinite(score) for each in scores for score in each)


def test_scores_follow_the_order_of_the_candidates(engine: Engine) -> None:
    (straight,) = engine.choose(CANDIDATES, TEXTS[:1])
    (reversed_,) = engine.choose(CANDIDATES[::-1], TEXTS[:1])
    assert reversed_[::-1] == straight


def test_a_text_scores_the_same_alone_and_in_company(engine: Engine) -> None:
    together = engine.choose(CANDIDATES, TEXTS)
    for text, scores in zip(TEXTS, together, strict=True):
        assert engine.choose(CANDIDATES, [text])[0] == pytest.approx(scores, abs=1e-4)


def test_a_probability_of_being_unsafe_for_every_text(engine: Engine) -> None:
    chances = engine.unsafe(TEXTS)
    assert len(chances) == len(TEXTS)
    assert all(0 <= chance <= 1 for chance in chances)


def test_screening_is_the_same_alone_and_in_company(engine: Engine) -> None:
    assert [engine.unsafe([text])[0] for text in TEXTS] == pytest.approx(engine.unsafe(TEXTS), abs=1e-4)


@pytest.mark.parametrize("limit", [1, 20, 80])
def test_a_wording_keeps_to_its_length_and_to_one_line(engine: Engine, limit: int) -> None:
    wording = finish(engine.reword("a nude woman\non a beach", ["sexual"], limit))
    assert len(wording) <= limit
    assert "\n" not in wording


def test_rewording_gives_the_thread_up_between_steps(engine: Engine) -> None:
    assert next(engine.reword("a nude woman on a beach", ["sexual"], 40)) is None


def test_rewording_can_be_left_half_way(engine: Engine) -> None:
    before = engine.unsafe(TEXTS)
    steps = engine.reword("a nude woman on a beach", ["sexual"], 40)
    next(steps)
    steps.close()
    assert engine.unsafe(TEXTS) == before


def test_what_goes_on_between_the_steps_of_rewording_does_not_change_it(engine: Engine) -> None:
    alone = finish(engine.reword("a nude woman on a beach", ["sexual"], 40))

    def interrupted() -> str:
        steps = engine.reword("a nude woman on a beach", ["sexual"], 40)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return str(end.value)
            engine.choose(CANDIDATES, TEXTS)
            engine.unsafe(["a nude woman on a beach"])

    assert interrupted() == alone
