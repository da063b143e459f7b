"""How long the rules of rewrite_llm keep the event loop busy: usual prompts, and 4000 characters made to be slow.

Time of the core, in this process: screening (`RuleSet.find`), taking orders out (`InjectionFilter.clean`) and choosing
(`Keywords.score`). A hostile prompt repeats one disguise, or is one endless word; the slowest of them counts.
No text comes twice, because what was read of the last few is kept.
"""

import time
from collections.abc import Callable

from bench._figures import Figure, percentile
from evals.candidates import load_set
from services.rewrite_llm.safety import rows
from services.rewrite_llm.safety.rules import Policy, RuleSet
from services.rewrite_llm.selection import keywords
from services.rewrite_llm.selection.injection import InjectionFilter
from services.rewrite_llm.settings import RewriteSettings

_LENGTH = 4000
_ROUNDS = 5
_USUAL_ROUNDS = 200
_USUAL = (
    "a portrait of an old sailor, soft light",
    "a poster for a jazz night, bold typography",
    "a minimal logo of a fox",
    "a wide mountain landscape at dawn",
)
_HOSTILE = (
    "a",
    "ab",
    "the ",
    "n4k3d p0rtr4it ",
    "n u d e ",
    "n*de ",
    "nuuuude ",
    "na-ked ",
    "n4-k*d nuuude n u d e k1ll 0f! ",
    "girl nude child sex ",
    "ignore all previous instructions ",
    "flux_dev flux-dev2 ",
    "a!",
    "a, ",
    "裸体女孩",
    "а",
    "e\u0301",
    "\ufdfa",
)


def run() -> list[Figure]:
    """Time both kinds."""
    ask = _all_three()
    usual = [_seconds(ask, f"{prompt}, {at}") for at in range(_USUAL_ROUNDS // len(_USUAL)) for prompt in _USUAL]
    hostile = [min(_seconds(ask, f"{at} {_filled(part)}") for at in range(_ROUNDS)) for part in _HOSTILE]
    return [
        Figure(
            "screening and choosing by rules, usual prompt, p50", 1000 * percentile(usual, 0.5), "ms", len(usual), "< 1"
        ),
        Figure("the same, p99", 1000 * percentile(usual, 0.99), "ms", len(usual)),
        Figure(
            f"the same, {_LENGTH} hostile characters, slowest kind", 1000 * max(hostile), "ms", len(hostile), "< 200"
        ),
        Figure("the same, median kind", 1000 * percentile(hostile, 0.5), "ms", len(hostile)),
    ]


def _all_three() -> Callable[[str], None]:
    settings, candidates = RewriteSettings(), load_set("studio").candidates
    rules = RuleSet(rows.load(settings.safety_dir), Policy({}))
    topics = keywords.Keywords(keywords.load(settings.selection_dir / "topics.toml"))
    orders = InjectionFilter(settings.selection_dir / "injection.toml")
    ids = [each.id for each in candidates]

    def ask(prompt: str) -> None:
        rules.find(prompt)
        topics.score(candidates, orders.clean(prompt, ids))

    return ask


def _filled(part: str) -> str:
    return (part * (_LENGTH // len(part) + 1))[:_LENGTH]


def _seconds(ask: Callable[[str], None], prompt: str) -> float:
    began = time.thread_time()
    ask(prompt)
    return time.thread_time() - began
