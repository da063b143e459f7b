"""Every metric of this service."""

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram

from servekit import tracing
from servekit.metrics import Labelled
from servekit.model_metrics import ModelMetrics, queue_wait_histogram

VERDICTS = ("accepted", "non_finite", "black", "unsafe")
REMEDIES = ("decode_fp32", "next_seed", "rewrite", "fallback_model")
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_SHARES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1)
_STEP_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class ImagegenMetrics:
    """Counters, gauges and histograms, named `imagegen_*`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.images = self._counter("imagegen_images_total", "Pictures by outcome: sent or blocked.", "outcome")
        self.steps = self._counter("imagegen_steps_total", "Denoising steps of single pictures.")
        self.stage_seconds = self._histogram("imagegen_stage_seconds", "Seconds by stage of a request.", "stage")
        self.batch_size = self._histogram(
            "imagegen_batch_size", "Pictures that shared a forward pass.", buckets=(1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
        )
        self.step_seconds = self._histogram("imagegen_step_seconds", "Seconds of a step.", buckets=_STEP_SECONDS)
        self.verdicts = self._counter(
            "imagegen_verdicts_total", "Attempts by verdict: accepted, non_finite, black or unsafe.", "verdict"
        )
        self.retries = self._counter("imagegen_retries_total", "Attempts that led to another, by remedy.", "remedy")
        self.recoveries = self._counter(
            "imagegen_recoveries_total", "Pictures that were usable after a remedy, by the last remedy.", "remedy"
        )
        self.fallbacks = Labelled(
            Counter(
                "imagegen_fallbacks_total",
                "Pictures handed from one model to another.",
                ("from_model", "to_model"),
                registry=registry,
            )
        )
        self.unsafe_score = self._histogram(
            "imagegen_unsafe_score_ratio", "Scores of the safety check, 0 to 1.", buckets=_SHARES
        )
        self.queue_wait_seconds = queue_wait_histogram("imagegen", registry, "model")
        self.models = ModelMetrics("imagegen", registry)

    def took(self, model: str, stage: str, seconds: float) -> None:
        """Take the seconds of a stage, tied to the trace of the call being served."""
        self.stage_seconds.labels(model, stage).observe(seconds, tracing.exemplar())

    def step_observer(self, model: str) -> Callable[[int, float], None]:
        """Return what takes the width and the seconds of each step of a model, its metrics looked up once."""
        widths, seconds = self.batch_size.labels(model), self.step_seconds.labels(model)

        def observe(width: int, took_s: float) -> None:
            widths.observe(width)
            seconds.observe(took_s)

        return observe

    def expect(self, fallbacks: Mapping[str, str]) -> None:
        """Begin the counts of these models at zero: Prometheus sees no increase in a series that begins at one."""
        for model, fallback in fallbacks.items():
            if fallback:
                self.fallbacks.labels(model, fallback)
            for verdict in VERDICTS:
                self.verdicts.labels(model, verdict)
            for outcome in ("sent", "blocked"):
                self.images.labels(model, outcome)
            for remedy in REMEDIES:
                self.retries.labels(model, remedy)
                self.recoveries.labels(model, remedy)
            self.unsafe_score.labels(model)

    def _counter(self, name: str, documentation: str, *labels: str) -> Labelled[Counter]:
        return Labelled(Counter(name, documentation, ("model", *labels), registry=self._registry))

    def _histogram(
        self, name: str, documentation: str, *labels: str, buckets: tuple[float, ...] = _SECONDS
    ) -> Labelled[Histogram]:
        return Labelled(Histogram(name, documentation, ("model", *labels), registry=self._registry, buckets=buckets))
