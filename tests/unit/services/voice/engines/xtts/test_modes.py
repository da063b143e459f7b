"""Where XTTS runs, by what the probes found."""

import pytest

from servekit.errors import ModelUnavailable
from services.voice.engines.xtts.modes import NEEDS, choose, fallback, on_cpu
from services.voice.engines.xtts.probes import OPERATIONS

GPU = "cuda:0"
ALL = frozenset(OPERATIONS)


def report(*failed: str) -> dict[str, str]:
    return {name: "no kernel image" if name in failed else "" for name in OPERATIONS}


def test_every_need_is_probed() -> None:
    assert frozenset().union(*NEEDS.values()) <= ALL


def test_a_gpu_that_does_everything_gets_everything() -> None:
    mode = choose("auto", GPU, report())
    assert (mode.name, mode.gpt, mode.vocoder, mode.encoder) == ("cuda", GPU, GPU, GPU)


@pytest.mark.parametrize(
    ("failed", "on_gpu"),
    [
        ("convolve_transposed", {"gpt", "encoder"}),
        ("attend", {"vocoder"}),
        ("spectrogram", {"gpt", "vocoder"}),
        ("bfloat16", {"gpt", "vocoder", "encoder"}),
    ],
)
def test_a_part_runs_where_all_its_operations_work(failed: str, on_gpu: set[str]) -> None:
    mode = choose("auto", GPU, report(failed))
    assert {part for part in NEEDS if getattr(mode, part) == GPU} == on_gpu
    assert mode.device == GPU
    assert mode.name == ("cuda" if len(on_gpu) == 3 else "hybrid")
    assert len(on_gpu) == 3 or f"{failed} (no kernel image)" in mode.reason


def test_a_gpu_that_only_copies_keeps_the_weights() -> None:
    mode = choose("auto", GPU, report(*ALL - {"copy"}))
    assert (mode.name, mode.parked_on, mode.gpt, mode.device) == ("hybrid", GPU, "cpu", "cpu")
    assert "no kernel image" in mode.reason


def test_a_gpu_that_does_nothing_is_left_alone() -> None:
    mode = choose("auto", GPU, report(*ALL))
    assert (mode.name, mode.parked_on) == ("cpu", "")
    assert "no kernel image" in mode.reason


def test_without_a_gpu_it_is_the_cpu() -> None:
    assert choose("auto", "", {}).reason == "torch sees no GPU"


def test_asking_for_hybrid_where_everything_works_parks() -> None:
    assert choose("hybrid", GPU, report()).parked_on == GPU


def test_layers_only_when_asked_for() -> None:
    mode = choose("layers", GPU, report("matmul", "convolve"))
    assert (mode.name, mode.gpt, mode.encoder) == ("layers", GPU, "cpu")


@pytest.mark.parametrize(
    ("requested", "device", "failed", "why"),
    [
        ("cuda", "", (), "torch sees no GPU"),
        ("layers", "", (), "torch sees no GPU"),
        ("cuda", GPU, ("matmul",), "only in hybrid: .*matmul"),
        ("hybrid", GPU, tuple(ALL), "only in cpu"),
        ("layers", GPU, ("normalise",), "lacks normalise"),
    ],
)
def test_what_cannot_be_had_says_why(requested: str, device: str, failed: tuple[str, ...], why: str) -> None:
    with pytest.raises(ModelUnavailable, match=why):
        choose(requested, device, report(*failed))


def test_after_a_failure_comes_the_cpu_and_then_nothing() -> None:
    following = fallback(choose("auto", GPU, report()), "CUDA error: unspecified launch failure\nand more")
    assert following == on_cpu("mode cuda failed at run time: CUDA error: unspecified launch failure")
    assert fallback(following, "again") is None
