"""Who is evaluated: rules alone, the language model alone, and both together as the service runs them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from prometheus_client import CollectorRegistry

from evals.dataset import ActionName
from services.rewrite_llm.catalog import load
from services.rewrite_llm.consult import Consultant
from services.rewrite_llm.domain import Candidate, Verdict
from services.rewrite_llm.engines.rules import RulesEngine
from services.rewrite_llm.metrics import RewriteMetrics
from services.rewrite_llm.ports import Engine
from services.rewrite_llm.rewrite import finish
from services.rewrite_llm.safety import rows
from services.rewrite_llm.safety.rules import Policy, RuleSet
from services.rewrite_llm.screen import ScreenPrompt
from services.rewrite_llm.select import SelectModel
from services.rewrite_llm.selection import keywords
from services.rewrite_llm.selection.injection import InjectionFilter
from services.rewrite_llm.settings import RewriteSettings

BUNDLED = "sketch_qwen"
"""Id of the bundled language model in the catalog."""

_ACTIONS: dict[Verdict, ActionName] = {Verdict.ALLOW: "safe", Verdict.REWRITE: "rewrite", Verdict.BLOCK: "block"}


class Judge(Protocol):
    """Chooses a candidate and screens a prompt."""

    async def choose(self, prompt: str, candidates: Sequence[Candidate], default_id: str) -> str:
        """Id of the candidate for `prompt`."""
        ...

    async def screen(self, prompt: str) -> ActionName:
        """What to do with `prompt`."""
        ...


class ServiceJudge:
    """The use cases of rewrite_llm with its own settings; rules alone if `engine` is None."""

    def __init__(self, settings: RewriteSettings, engine: Engine | None) -> None:
        metrics = RewriteMetrics(CollectorRegistry())
        consultant = Consultant(_Inline(engine) if engine else None, metrics)
        rule_set = RuleSet(rows.load(settings.safety_dir), Policy({}))
        topics = keywords.Keywords(keywords.load(settings.selection_dir / "topics.toml"))
        self._select = SelectModel(
            consultant,
            RulesEngine(rule_set, topics, rows.shared(settings.safety_dir).additions),
            InjectionFilter(settings.selection_dir / "injection.toml"),
            metrics,
            min_margin=settings.min_margin,
            llm_limit_s=settings.select_limit_s,
        )
        self._screen = ScreenPrompt(
            consultant,
            rule_set,
            metrics,
            threshold=threshold(settings),
            unsafe_verdict=Verdict.REWRITE,
            llm_limit_s=settings.screen_limit_s,
        )

    async def choose(self, prompt: str, candidates: Sequence[Candidate], default_id: str) -> str:
        """Id of the candidate for `prompt`."""
        return (await self._select(prompt, candidates, default_id)).id

    async def screen(self, prompt: str) -> ActionName:
        """What to do with `prompt`."""
        return _ACTIONS[(await self._screen(prompt)).verdict]


class ModelJudge:
    """The language model's word alone: the best score, and `rewrite` from the threshold on."""

    def __init__(self, settings: RewriteSettings, engine: Engine) -> None:
        self._engine = engine
        self._threshold = threshold(settings)

    async def choose(self, prompt: str, candidates: Sequence[Candidate], default_id: str) -> str:
        """Id of the best candidate; `default_id` is for judges that doubt."""
        scores = self._engine.choose(candidates, [prompt])[0]
        return candidates[scores.index(max(scores))].id

    async def screen(self, prompt: str) -> ActionName:
        """What to do with `prompt`."""
        return "rewrite" if self._engine.unsafe([prompt])[0] >= self._threshold else "safe"


@dataclass(frozen=True, slots=True)
class _Inline:
    """An engine as a language model that is always there; the evaluation has no other task to hold up."""

    engine: Engine
    id: str = BUNDLED
    caveat: str = ""

    async def choose(self, candidates: Sequence[Candidate], text: str) -> tuple[float, ...]:
        return self.engine.choose(candidates, [text])[0]

    async def unsafe(self, text: str) -> float:
        return self.engine.unsafe([text])[0]

    async def reword(self, text: str, categories: Sequence[str], max_chars: int) -> str:
        return finish(self.engine.reword(text, categories, max_chars))


def threshold(settings: RewriteSettings) -> float:
    """The probability from which the bundled model's "unsafe" counts, as the service decides it."""
    return load(None).models[BUNDLED].unsafe_threshold or settings.unsafe_threshold


def load_engine(folder: Path) -> Engine:
    """The language model of `folder`, in float32 on the CPU."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from services.rewrite_llm.engines.causal_lm import CausalLmEngine

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    return CausalLmEngine(model, AutoTokenizer.from_pretrained(folder, local_files_only=True))
