"""Bad output is told from speech."""

import numpy as np
import pytest

from services.voice.checks.audio import Inspector
from services.voice.domain import Cause, Degenerate, Samples, Utterance, Voice
from services.voice.ports import Capabilities

RATE = 1000
VOICE = Voice("m/v", "V", "m", ("en",))
CAN = Capabilities(sample_rate=RATE, streaming=True, max_seconds_per_character=0.5)


def inspector(text: str = "hello", *, ssml: bool = False) -> Inspector:
    return Inspector(Utterance(text, VOICE, "en", 0, ssml=ssml), CAN)


def constant(value: float, seconds: float) -> Samples:
    return np.full(round(seconds * RATE), value, np.float32)


def cause_of(checked: Inspector, *blocks: Samples) -> Cause:
    with pytest.raises(Degenerate) as caught:
        for block in blocks:
            checked.accept(block)
        checked.finish()
    return caught.value.cause


def test_speech_passes_unchanged() -> None:
    checked = inspector()
    assert np.array_equal(checked.accept(constant(0.3, 1)), constant(0.3, 1))
    assert not len(checked.finish())


def test_silence_is_held_back_until_something_is_heard() -> None:
    checked = inspector()
    assert not len(checked.accept(constant(0, 0.5)))
    assert len(checked.accept(constant(0.3, 0.5))) == RATE


def test_long_silence_is_not_held_for_ever() -> None:
    checked = inspector()
    checked.accept(constant(0, 1.5))
    assert len(checked.accept(constant(0, 1.0))) == 2.5 * RATE


def test_what_comes_all_at_once_is_held_to_the_end() -> None:
    utterance = Utterance("Hello.", VOICE, "en", seed=0)
    checked = Inspector(utterance, Capabilities(sample_rate=RATE, streaming=False))
    assert not len(checked.accept(constant(0, 9)))
    with pytest.raises(Degenerate):
        checked.finish()


def test_silence_for_words_is_rejected() -> None:
    assert cause_of(inspector(), constant(0, 1)) is Cause.SILENT


def test_silence_for_a_symbol_is_not() -> None:
    checked = inspector("…")
    checked.accept(constant(0, 1))
    assert len(checked.finish()) == RATE


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none_are_rejected(value: float) -> None:
    assert cause_of(inspector(), constant(value, 0.1)) is Cause.NON_FINITE


def test_clipping_is_rejected() -> None:
    assert cause_of(inspector(), constant(1.0, 0.5)) is Cause.CLIPPED


def test_a_loud_peak_is_no_clipping() -> None:
    block = constant(0.3, 1)
    block[:20] = 1.0
    assert len(inspector().accept(block)) == RATE


def test_a_runaway_is_rejected() -> None:
    assert cause_of(inspector(), *[constant(0.3, 1)] * 20) is Cause.TOO_LONG


def test_ssml_may_be_as_long_and_silent_as_it_says() -> None:
    checked = inspector("<speak/>", ssml=True)
    for _ in range(30):
        checked.accept(constant(0, 1))
    checked.finish()
