"""Every metric of the router. Labels carry ids and categories, never text of a prompt."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from servekit.metrics import Labelled

_DECISION_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_MARGIN_BUCKETS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)


class RouterMetrics:
    """What dashboards show of the router's decisions and of the servers behind it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.decisions = Labelled(
            Counter("router_decisions_total", "Image requests routed.", ("model", "source", "kind"), registry=registry)
        )
        self.decision_seconds = Histogram(
            "router_decision_seconds", "Seconds per decision.", buckets=_DECISION_BUCKETS, registry=registry
        )
        self.margin = Histogram(
            "router_margin_ratio", "Difference of the two best scores.", buckets=_MARGIN_BUCKETS, registry=registry
        )
        self.degraded = Labelled(
            Counter("router_degraded_total", "Judgements made without rewrite_llm.", ("stage",), registry=registry)
        )
        for stage in ("select", "screen"):
            self.degraded.labels(stage)  # from zero: Prometheus sees no increase in a series that begins at one
        self.rewrites = Labelled(
            Counter("router_rewrites_total", "Prompts rewritten, by category found.", ("category",), registry=registry)
        )
        self.blocked = Labelled(
            Counter("router_blocked_total", "Prompts refused, by category found.", ("category",), registry=registry)
        )
        self.retries = Labelled(
            Counter("router_retries_total", "Requests moved to another replica.", ("backend",), registry=registry)
        )
        self.backend_errors = Labelled(
            Counter("router_backend_errors_total", "Failed calls.", ("backend", "code"), registry=registry)
        )
        self.backend_up = Labelled(
            Gauge("router_backend_up", "1 if the server answers and is healthy.", ("backend",), registry=registry)
        )
        self.backend_in_flight = Labelled(
            Gauge("router_backend_in_flight", "Calls under way.", ("backend",), registry=registry)
        )

    def forget_backend(self, name: str) -> None:
        """Say no more how a server is: it has gone, and the next that comes may get its name."""
        self.backend_up.remove(name)
        self.backend_in_flight.remove(name)
