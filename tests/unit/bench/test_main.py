import signal
from collections.abc import Iterator

import pytest

from bench.__main__ import end_as_by_ctrl_c, main


@pytest.fixture
def sigterm() -> Iterator[signal.Signals]:
    """SIGTERM, whose handler a test may change."""
    before = signal.getsignal(signal.SIGTERM)
    yield signal.SIGTERM
    signal.signal(signal.SIGTERM, before)


def test_sigterm_ends_a_benchmark_as_ctrl_c_does(sigterm: signal.Signals) -> None:
    end_as_by_ctrl_c(sigterm)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(sigterm)


def test_an_unknown_benchmark_names_the_known_ones() -> None:
    with pytest.raises(SystemExit, match=r"no benchmark named speed; there are .*router_overhead"):
        main(["speed"])


def test_an_option_that_a_benchmark_does_not_know_is_named() -> None:
    with pytest.raises(SystemExit, match=r"bench.voice_splitter has no --seconds and no --rounds"):
        main(["voice_splitter", "--seconds", "1", "--rounds", "1"])
