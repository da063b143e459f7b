from hypothesis import given
from hypothesis import strategies as st

from services.imagegen.domain import Attempt, Cause, Remedy
from services.imagegen.ladder import next_remedy

ALL = frozenset(Remedy)


def climb(causes: list[Cause], possible: frozenset[Remedy] = ALL) -> list[Remedy | None]:
    """Return the remedies after each of these failures in a row."""
    attempts: list[Attempt] = []
    for number, cause in enumerate(causes, start=1):
        attempts.append(Attempt(number, "m", 1, cause, next_remedy(cause, attempts, possible)))
    return [attempt.remedy for attempt in attempts]


def test_a_black_picture_is_decoded_again_then_reseeded_then_handed_on() -> None:
    possible = ALL - {Remedy.DECODE_FP32}

    assert next_remedy(Cause.BLACK, [], ALL) is Remedy.DECODE_FP32
    assert climb([Cause.BLACK] * 3, possible) == [Remedy.NEXT_SEED, Remedy.FALLBACK_MODEL, None]


def test_an_unsafe_picture_is_rewritten_then_handed_on() -> None:
    assert climb([Cause.UNSAFE] * 3) == [Remedy.REWRITE, Remedy.FALLBACK_MODEL, None]


def test_a_black_picture_is_never_taken_for_an_unsafe_one() -> None:
    assert Remedy.REWRITE not in climb([Cause.BLACK, Cause.NON_FINITE] * 5, ALL - {Remedy.DECODE_FP32})


def test_each_new_set_of_latents_may_be_decoded_again() -> None:
    before = [
        Attempt(1, "m", 1, Cause.BLACK, Remedy.DECODE_FP32),
        Attempt(2, "m", 1, Cause.BLACK, Remedy.NEXT_SEED),
    ]

    assert next_remedy(Cause.BLACK, before, ALL) is Remedy.DECODE_FP32


def test_a_picture_that_turns_unsafe_after_a_new_seed_is_rewritten() -> None:
    before = [Attempt(1, "m", 1, Cause.BLACK, Remedy.NEXT_SEED)]

    assert next_remedy(Cause.UNSAFE, before, ALL) is Remedy.REWRITE


@given(st.lists(st.sampled_from(list(Cause)), max_size=12), st.frozensets(st.sampled_from(list(Remedy))))
def test_only_possible_remedies_and_each_but_decoding_once(causes: list[Cause], possible: frozenset[Remedy]) -> None:
    used = [remedy for remedy in climb(causes, possible) if remedy not in (None, Remedy.DECODE_FP32)]

    assert len(used) == len(set(used))
    assert set(used) <= possible
