"""Every metric of this service."""

from collections.abc import Collection

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from servekit.metrics import Labelled
from servekit.model_metrics import ModelMetrics, queue_wait_histogram

_SECONDS = (0.002, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
CAUSES = ("silent", "clipped", "non_finite", "too_long", "engine_failure")
REMEDIES = ("next_seed", "fallback_engine")
_FACTORS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class VoiceMetrics:
    """Counters, gauges and histograms, named `voice_*`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.first_audio_seconds = self._histogram(
            "voice_first_audio_seconds",
            "Seconds from the request to its first audio, the wait in the queue included and that for its text not.",
            _SECONDS,
        )
        self.real_time_factor = self._histogram(
            "voice_real_time_factor", "Seconds of work per second of audio.", _FACTORS
        )
        self.queue_wait_seconds = queue_wait_histogram("voice", registry, "model")
        self.underruns = self._counter("voice_underruns_total", "Audio that was made later than it was to be played.")
        self.characters = self._counter("voice_characters_total", "Characters spoken.")
        self.audio_seconds = self._counter("voice_audio_seconds_total", "Seconds of audio made.")
        self.sentences = self._counter("voice_sentences_total", "Sentences spoken.")
        self.retries = self._counter("voice_retries_total", "Attempts that led to another.", "cause", "remedy")
        self.rejections = self._counter("voice_rejections_total", "Sentences given up, by the last cause.", "cause")
        self.stage_seconds = Labelled(
            Histogram(
                "voice_stage_seconds",
                "Seconds by stage of a request; of speaking those of work, without waiting for text or reader.",
                ("model", "stage"),
                registry=registry,
                buckets=_SECONDS,
            )
        )
        self._mode = Labelled(
            Gauge(
                "voice_engine_mode",
                "1 for the device mode in which an engine runs.",
                ("model", "mode"),
                registry=registry,
            )
        )
        self._mode_fallbacks = self._counter(
            "voice_engine_mode_fallbacks_total", "Device modes that failed at run time.", "before", "mode"
        )
        self._places: dict[str, str] = {}
        self.models = ModelMetrics("voice", registry)

    def expect(self, models: Collection[str]) -> None:
        """Begin the counts of these models at zero: Prometheus sees no increase in a series that begins at one."""
        for model in models:
            for cause in CAUSES:
                self.rejections.labels(model, cause)
                for remedy in REMEDIES:
                    self.retries.labels(model, cause, remedy)
        self.models.expect(models)

    def placed(self, model: str, mode: str, before: str) -> None:
        """Take note of the mode in which an engine runs, and of the one that failed, if any; from any thread."""
        if (last := self._places.get(model)) is not None:
            self._mode.labels(model, last).set(0)
        self._places[model] = mode
        if before:
            self._mode_fallbacks.labels(model, before, mode).inc()
        self._mode.labels(model, mode).set(1)

    def _counter(self, name: str, documentation: str, *labels: str) -> Labelled[Counter]:
        return Labelled(Counter(name, documentation, ("model", *labels), registry=self._registry))

    def _histogram(self, name: str, documentation: str, buckets: tuple[float, ...]) -> Labelled[Histogram]:
        return Labelled(Histogram(name, documentation, ("model",), registry=self._registry, buckets=buckets))
