"""Where XTTS runs, and why: pure over what the probes found.

cuda    every part on the GPU
hybrid  some parts on the GPU; or, if it computes nothing but still copies, all on the CPU, with the weights kept in
        the GPU's memory while nobody speaks
cpu     every part on the CPU
layers  the GPU computes all but the linear layers and the convolutions, which run on the CPU; only when asked for
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from servekit.errors import ModelUnavailable

Name = Literal["cuda", "hybrid", "cpu", "layers"]
NAMES: tuple[Name, ...] = ("cuda", "hybrid", "cpu", "layers")

CPU = "cpu"
_LIGHT = frozenset({"copy", "add", "cast", "index", "activate", "normalise", "attend"})
"""What the GPU has to do in mode `layers`."""
NEEDS: Mapping[str, frozenset[str]] = {
    "gpt": _LIGHT | {"matmul"},
    "vocoder": frozenset({"copy", "add", "activate", "convolve", "convolve_transposed"}),
    "encoder": _LIGHT | {"matmul", "convolve", "convolve_2d", "spectrogram"},
}
"""Operations of each part."""


@dataclass(frozen=True, slots=True)
class Mode:
    """A placement and its reason. Devices are as torch names them."""

    name: Name
    reason: str
    gpt: str = CPU
    vocoder: str = CPU
    encoder: str = CPU
    """What makes voices of clips."""
    parked_on: str = ""
    """Whose memory keeps the weights while nobody speaks; empty if they stay where they run."""

    @property
    def device(self) -> str:
        """The GPU if any part computes there, else the CPU."""
        return next((each for each in (self.gpt, self.vocoder, self.encoder) if each != CPU), CPU)


def on_cpu(reason: str) -> Mode:
    """Return the mode that always works."""
    return Mode("cpu", reason)


def choose(requested: str, device: str, report: Mapping[str, str]) -> Mode:
    """Choose by what the probes of `device` reported: what went wrong by operation, empty where nothing did.

    `requested` is `auto` or a name; `device` is empty if there is no GPU. Raises `ModelUnavailable` if the mode cannot
    be had.
    """
    if requested == "cpu":
        return on_cpu("asked for the CPU")
    if not device:
        return _without_gpu(requested)
    if requested == "layers":
        return _layers(device, report)
    mode = _best(device, report)
    if requested == "hybrid" and mode.name == "cuda":
        return _parked(device, "asked for hybrid, and everything would run on the GPU")
    if requested not in ("auto", mode.name):
        raise ModelUnavailable(f"XTTS cannot run in mode {requested}, only in {mode.name}: {mode.reason}")
    return mode


def fallback(mode: Mode, error: str) -> Mode | None:
    """Return the mode that takes over when this one fails at run time; None if nothing is left."""
    if mode.name == "cpu":
        return None
    first_line = (error.splitlines() or ["no message"])[0]
    return on_cpu(f"mode {mode.name} failed at run time: {first_line}")


def _without_gpu(requested: str) -> Mode:
    if requested != "auto":
        raise ModelUnavailable(f"XTTS cannot run in mode {requested}: torch sees no GPU here; auto and cpu would work")
    return on_cpu("torch sees no GPU")


def _best(device: str, report: Mapping[str, str]) -> Mode:
    failed = {name: error for name, error in report.items() if error}
    missing = {part: sorted(failed.keys() & needs) for part, needs in NEEDS.items()}
    places = {part: CPU if lacking else device for part, lacking in missing.items()}
    why = "; ".join(
        f"{part} on the CPU for want of {', '.join(each)} ({failed[each[0]]})" for part, each in missing.items() if each
    )
    if not why:
        return Mode("cuda", f"every operation works on {device}", **places)
    if device in places.values():
        return Mode("hybrid", why, **places)
    if "copy" not in failed:
        return _parked(device, f"{device} copies and computes nothing that is needed ({next(iter(failed.values()))})")
    return on_cpu(f"{device} cannot be used: {failed['copy']}")


def _parked(device: str, why: str) -> Mode:
    return Mode("hybrid", f"{why}; it keeps the weights while nobody speaks", parked_on=device)


def _layers(device: str, report: Mapping[str, str]) -> Mode:
    failed = {name: error for name, error in report.items() if error}
    if lacking := sorted(failed.keys() & _LIGHT):
        raise ModelUnavailable(
            f"XTTS cannot run in mode layers: {device} lacks {', '.join(lacking)} ({failed[lacking[0]]}); try auto"
        )
    return replace(Mode("layers", "asked for linear layers and convolutions on the CPU"), gpt=device, vocoder=device)
