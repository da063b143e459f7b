"""Request traces for the residency simulation: seeded, so that every run sees the same ones."""

from collections.abc import Callable, Mapping
from random import Random

from bench._residency import Arrival

GB = 10**9

SIZES = {
    "flux_dev": 34 * GB,
    "flux_schnell": 34 * GB,
    "qwen_image": 58 * GB,
    "z_image_turbo": 21 * GB,
    "sd35_medium": 16 * GB,
    "sd3_medium": 15 * GB,
    "flux_klein": 16 * GB,
    "sdxl": 13 * GB,
    "realvis_xl": 7 * GB,
    "sdxl_lightning": 7 * GB,
    "sketch": GB // 20,
}
"""Bytes of the models that requests ask for, the way a catalog has them."""

_SERVICE_S = (2.0, 8.0)
"""Shortest and longest that a request is served."""


def steady() -> list[Arrival]:
    """Independent requests at an even rate; a few models get most of them (Zipf, exponent 1)."""
    random = Random(1)
    models = random.sample(sorted(SIZES), len(SIZES))
    weights = [1 / rank for rank in range(1, len(models) + 1)]
    now, trace = 0.0, []
    for _ in range(2000):
        now += random.expovariate(1 / 6)
        trace.append(_request(random, now, random.choices(models, weights)[0]))
    return trace


def bursty() -> list[Arrival]:
    """Sessions of 4 to 24 pictures with one model at short intervals; they overlap, and then it is quiet."""
    random = Random(2)
    models = sorted(SIZES)
    now, trace = 0.0, []
    for _ in range(400):
        now += random.expovariate(1 / 45)
        model, moment = random.choice(models), now
        for _ in range(random.randint(4, 24)):
            trace.append(_request(random, moment, model))
            moment += random.expovariate(1 / 5)
    return sorted(trace, key=lambda each: each.at_s)


def adversarial() -> list[Arrival]:
    """The worst for least recently used: more models than fit, in turn, so that each left just before it is wanted."""
    random = Random(3)
    now, trace = 0.0, []
    for _ in range(60):
        for model in SIZES:
            now += random.uniform(6, 14)
            trace.append(_request(random, now, model))
    return trace


TRACES: Mapping[str, Callable[[], list[Arrival]]] = {"steady": steady, "bursty": bursty, "adversarial": adversarial}


def _request(random: Random, moment: float, model: str) -> Arrival:
    return Arrival(moment, model, random.uniform(*_SERVICE_S))
