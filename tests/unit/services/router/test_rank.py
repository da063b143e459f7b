import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.rank import Ranking

SHARES = st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 1), min_size=1)


def test_readiness_decides_among_close_models() -> None:
    scores = Ranking(weight=0.5, band=0.2).rank({"a": 0.5, "b": 0.45}, {"a": 0.25, "b": 1.0})

    assert [score.model for score in scores] == ["b", "a"]


def test_readiness_never_beats_a_clear_preference() -> None:
    scores = Ranking(weight=1.0, band=0.1).rank({"a": 0.9, "b": 0.1}, {"a": 0.0, "b": 1.0})

    assert scores[0].model == "a"


def test_without_weight_suitability_alone_counts() -> None:
    scores = Ranking(weight=0.0, band=1.0).rank({"a": 0.6, "b": 0.4}, {"a": 0.0, "b": 1.0})

    assert [score.final for score in scores] == [0.6, 0.4]


def test_the_final_score_is_explained() -> None:
    (score,) = Ranking(weight=0.5, band=0.1).rank({"a": 0.8}, {"a": 0.5})

    assert (score.suitability, score.readiness) == (0.8, 0.5)
    assert score.final == pytest.approx(0.8 * 0.75)


@given(suits=SHARES, ready=st.floats(0, 1), weight=st.floats(0, 1), band=st.floats(0, 1))
def test_final_scores_stay_within_0_and_1_and_fall(
    suits: dict[str, float], ready: float, weight: float, band: float
) -> None:
    finals = [score.final for score in Ranking(weight, band).rank(suits, dict.fromkeys(suits, ready))]

    assert finals == sorted(finals, reverse=True)
    assert all(0 <= final <= 1 for final in finals)


@given(suits=SHARES, ready=st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 1)), band=st.floats(0, 1))
def test_the_winner_is_always_within_the_band(suits: dict[str, float], ready: dict[str, float], band: float) -> None:
    winner = Ranking(0.9, band).rank(suits, {model: ready.get(model, 0.0) for model in suits})[0]

    assert winner.suitability >= max(suits.values()) - band
