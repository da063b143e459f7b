"""Every metric of this service. Labels are categories, rules and sources, never text."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram

from servekit.metrics import Labelled
from servekit.model_metrics import ModelMetrics, queue_wait_histogram

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)


class RewriteMetrics:
    """Counters, gauges and histograms, named `rewrite_*`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.selections = self._counter(
            "rewrite_selections_total",
            "Models chosen, by who judged and whether the default was taken.",
            "source",
            "defaulted",
        )
        self.margin = Labelled(
            Histogram(
                "rewrite_selection_margin_ratio",
                "Difference of the two best shares.",
                ("source",),
                registry=registry,
                buckets=_SHARES,
            )
        )
        self.screenings = self._counter(
            "rewrite_screenings_total", "Prompts screened, by verdict and who judged.", "verdict", "source"
        )
        self.findings = self._counter(
            "rewrite_findings_total", "What was found in prompts, by category and rule.", "category", "rule"
        )
        self.rewrites = self._counter(
            "rewrite_rewrites_total", "Prompts rewritten or blocked, by verdict and who wrote.", "verdict", "source"
        )
        self.degraded = self._counter(
            "rewrite_llm_degraded_total", "Questions that the language model left unanswered, by cause.", "cause"
        )
        self.stage_seconds = Labelled(
            Histogram("rewrite_stage_seconds", "Seconds by use case.", ("stage",), registry=registry, buckets=_SECONDS)
        )
        self.llm_seconds = Labelled(
            Histogram(
                "rewrite_llm_seconds",
                "Seconds of the language model by task.",
                ("task",),
                registry=registry,
                buckets=_SECONDS,
            )
        )
        self.llm_batch_size = Labelled(
            Histogram(
                "rewrite_llm_batch_size",
                "Questions that shared a forward pass.",
                ("task",),
                registry=registry,
                buckets=(1, 2, 4, 8, 16, 32),
            )
        )
        self.queue_wait_seconds = queue_wait_histogram("rewrite", registry, "stage")
        self.models = ModelMetrics("rewrite", registry)

    def expect(self, models: Iterable[str]) -> None:
        """Begin counts at zero: Prometheus sees no increase in a series that begins at one."""
        for cause in ("timeout", "model_loading", "internal"):
            self.degraded.labels(cause)
        for verdict in ("allow", "block"):
            self.rewrites.labels(verdict, "rules")
        self.models.expect(models)

    def _counter(self, name: str, documentation: str, *labels: str) -> Labelled[Counter]:
        return Labelled(Counter(name, documentation, labels, registry=self._registry))
