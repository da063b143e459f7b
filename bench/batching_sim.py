"""How soon pictures can be there when they join between steps, beside whole-picture batching, with no overhead at all.

Simulated, so that hardware this machine lacks can be asked about: a step of b pictures costs `fixed + b * each`, and
what a device gains by full batches (eight pictures against eight single ones) is all that is varied, from a small CPU
to a GPU whose step of eight costs what a step of one does. Pictures are asked for at random moments (Poisson) at 70 %
of what full batches would make. Either all take the same steps, or each 4, 8, 14 or 28; whole-picture batching then
takes together what takes as many, since a call of a diffusers pipeline has one number of steps.
"""

from random import Random
from statistics import mean

from bench._batches import Device, arrivals, join_between_steps, whole_pictures
from bench._figures import Figure, percentile

_LOAD = 0.7
_PICTURES = 20_000
_GAINS = (1.2, 1.9, 2.4, 4.0, 7.9)
_MIXES = {"equal pictures": (14,), "pictures of 4 to 28 steps": (4, 8, 14, 28)}


def run() -> list[Figure]:
    """Simulate every device and mix."""
    figures = []
    for name, steps in _MIXES.items():
        for gain in _GAINS:
            device = Device.gaining(gain)
            rate = _LOAD * device.rate(mean(steps))
            pictures = arrivals(rate, steps, Random(1), until=_PICTURES / rate)
            joined, waited = (percentile(how(pictures, device), 0.95) for how in (join_between_steps, whole_pictures))
            what = f"{name}, batches gain {gain:g}: p95 beside whole pictures"
            figures.append(Figure(what, joined / waited, "x", len(pictures)))
    return figures
