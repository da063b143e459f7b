"""How soon pictures can be there when they join between steps, beside whole-picture batching, with no overhead at all.

Simulated, so that hardware this machine lacks can be asked about: a step of b pictures costs `fixed + b * each`, and
what a device gains by full batches (eight pictures against eight single ones) is all that is varied, from a small CPU
to a GPU whose step of eight costs what a step of one does. Pictures are asked for at random moments (Poisson) at 70 %
of what full batches would make. Either all take the same steps, or each 4, 8, 14 or 28; whole-picture batching then
takes together what takes as many, since a call of a diffusers pipeline has one number of steps.
"""

from collections.abc import Sequence
from random import Random
from statistics import mean

from bench._batches import Device, arrivals, join_between_steps, whole_pictures
from bench._figures import Figure, percentile

_LOADS = (0.7, 0.8)
_LOAD = _LOADS[0]
_PICTURES = 20_000
_GAINS = (1.2, 1.9, 2.4, 4.0, 7.9)
_ENDS = Device(
    step=(8.6, 10.7, 13.3, 15.5, 17.5, 19.5, 21.2, 22.9),
    prepare=(7.0, 9.4, 10.8, 12.0, 13.9, 14.5, 15.8, 17.0),
    finish=(9.6, 13.8, 18.1, 28.3, 33.4, 39.0, 40.1, 47.8),
)
"""Small pictures of the bundled model on two cores, in milliseconds."""
_MIXES = {"equal pictures": (14,), "pictures of 4 to 28 steps": (4, 8, 14, 28)}
_BESIDE = "p95 beside whole pictures"


def run() -> list[Figure]:
    """Simulate every device and mix."""
    figures = []
    for name, steps in _MIXES.items():
        for gain in _GAINS:
            joined, waited, samples = _p95(Device.gaining(gain), steps, _LOAD)
            figures.append(Figure(f"{name}, batches gain {gain:g}: {_BESIDE}", joined / waited, "x", samples))
    for load in _LOADS:
        for name, steps in _MIXES.items():
            for how, gather in {"at once": False, "in company": True}.items():
                joined, waited, samples = _p95(_ENDS, steps, load, gather=gather)
                what = f"{name}, load {load:g}, begun and ended {how}: {_BESIDE}"
                figures.append(Figure(what, joined / waited, "x", samples))
    return figures


def _p95(device: Device, steps: Sequence[int], load: float, *, gather: bool = True) -> tuple[float, float, int]:
    """Return the p95 of pictures that join between steps, that of whole-picture batching, and of how many pictures."""
    rate = load * device.rate(mean(steps))
    pictures = arrivals(rate, steps, Random(1), until=_PICTURES / rate)
    joined, waited = join_between_steps(pictures, device, gather=gather), whole_pictures(pictures, device)
    return percentile(joined, 0.95), percentile(waited, 0.95), len(pictures)
