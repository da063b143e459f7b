"""Waiting is no work, and a listener who runs dry is noticed."""

from servekit.testing import ManualClock
from services.voice.stopwatch import Playback, Stopwatch


def test_waiting_does_not_count_as_work() -> None:
    clock = ManualClock()
    watch = Stopwatch(clock)
    clock.advance(1)
    with watch.paused():
        clock.advance(10)
    clock.advance(2)
    assert (watch.work_s, watch.total_s) == (3, 13)


def test_waiting_for_text_is_told_from_other_waiting() -> None:
    clock = ManualClock()
    watch = Stopwatch(clock)
    with watch.paused():
        clock.advance(1)
    for _ in range(2):
        with watch.awaiting_text():
            clock.advance(4)
    clock.advance(2)
    assert (watch.text_s, watch.work_s, watch.total_s) == (8, 2, 11)


def test_audio_in_time_is_no_underrun() -> None:
    playback = Playback()
    for at in (0.1, 0.9, 1.8):
        playback.made(at, 1.0)
    assert playback.underruns == 0


def test_audio_that_comes_late_is_one_underrun() -> None:
    playback = Playback()
    playback.made(0.0, 1.0)
    playback.made(1.5, 1.0)
    playback.made(2.4, 1.0)
    assert playback.underruns == 1
