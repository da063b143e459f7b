"""The recovery ladder: what to try next when a picture is unusable. Pure."""

from collections.abc import Collection, Sequence

from services.imagegen.domain import Attempt, Cause, Remedy

_RUNGS: dict[Cause, tuple[Remedy, ...]] = {
    Cause.NON_FINITE: (Remedy.DECODE_FP32, Remedy.NEXT_SEED, Remedy.FALLBACK_MODEL),
    Cause.BLACK: (Remedy.DECODE_FP32, Remedy.NEXT_SEED, Remedy.FALLBACK_MODEL),
    Cause.UNSAFE: (Remedy.REWRITE, Remedy.FALLBACK_MODEL),
}
"""Rungs in order. A black picture is no evidence of an unsafe one, so it never leads to a rewrite."""

EXPLANATIONS: dict[Remedy, str] = {
    Remedy.DECODE_FP32: "decoding the same latents again in 32-bit floating point",
    Remedy.NEXT_SEED: "trying the next seed",
    Remedy.REWRITE: "trying a safer prompt",
    Remedy.FALLBACK_MODEL: "trying the fallback model",
}


def next_remedy(cause: Cause, before: Sequence[Attempt], possible: Collection[Remedy]) -> Remedy | None:
    """Return the next rung after an attempt failed for `cause`, None at the top.

    `before` are the earlier attempts at the same picture; every rung is tried once, except that each new set of
    latents may be decoded again. `possible` are the remedies that could be applied now.
    """
    used = {attempt.remedy for attempt in before} - {Remedy.DECODE_FP32}
    return next((rung for rung in _RUNGS[cause] if rung in possible and rung not in used), None)
