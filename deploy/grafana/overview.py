"""The golden signals of every service."""

from deploy.grafana.model import (
    INTERVAL,
    Dashboard,
    Panel,
    Query,
    Row,
    increase,
    mean,
    of,
    quantile,
    rate,
    spread,
    total,
)

_OURS = 'grpc_code=~"UNKNOWN|DEADLINE_EXCEEDED|INTERNAL|UNAVAILABLE|DATA_LOSS"'
_THEIRS = 'grpc_code=~"INVALID_ARGUMENT|NOT_FOUND|PERMISSION_DENIED|UNAUTHENTICATED|FAILED_PRECONDITION"'
_OWN_LIMITS = 'cause=~"rate_limited|quota_exceeded"'
"""Why the door refuses a caller with RESOURCE_EXHAUSTED although nothing is full."""
_STARTED, _HANDLED, _REFUSED = "grpc_server_started_total", "grpc_server_handled_total", "servekit_refused_total"
_WITH_MODELS = ("imagegen", "voice", "rewrite")
_WORK = 'grpc_service=~"atelier[.].+"', 'grpc_method!~"Watch.*"'


def _full(growth: str) -> str:
    """Return how much the refusals for want of room grew, by `growth`, which is `rate` or `increase`."""
    exhausted = of(_HANDLED, 'grpc_code="RESOURCE_EXHAUSTED"', *_WORK)
    own_limits = of(_REFUSED, _OWN_LIMITS)
    each = f"{growth}({exhausted}[{INTERVAL}]) or -{growth}({own_limits}[{INTERVAL}])"
    return f"clamp_min(sum by (job) ({each}), 0)"


def _models_counted(title: str, what: str, by: str) -> Panel:
    """Return the panel that counts what happened to models, in every service that has some."""
    return Panel(
        title,
        "short",
        tuple(
            Query(increase(f"{each}_model_{what}_total", by=f"pod, {by}"), f"{{{{pod}}}} {{{{{by}}}}}")
            for each in _WITH_MODELS
        ),
    )


OVERVIEW = Dashboard(
    uid="atelier-overview",
    title="Atelier / Overview",
    description="Is the studio well, and if not, which service is to blame?",
    rows=(
        Row(
            "Is it up, and are users served?",
            (
                Panel(
                    "Services up",
                    "short",
                    (Query(total("up", by="job"), "{{job}}"),),
                    "stat",
                    ((0, "red"), (1, "green")),
                ),
                Panel(
                    "Failed by our fault, last 5 minutes",
                    "percentunit",
                    (Query('atelier:calls_failed:ratio_rate5m{namespace=~"$namespace"}', "{{job}}"),),
                    "stat",
                    ((0.005, "yellow"), (0.05, "red")),
                ),
                Panel(
                    "Error budget being spent (1 = just sustainable)",
                    "short",
                    (
                        Query(
                            'atelier:calls_failed:ratio_rate1h{job="router", namespace=~"$namespace"} / 0.005', "calls"
                        ),
                        Query('atelier:images_slow:ratio_rate1h{namespace=~"$namespace"} / 0.05', "slow pictures"),
                        Query('atelier:speech_late:ratio_rate1h{namespace=~"$namespace"} / 0.05', "late speech"),
                    ),
                    thresholds=((1, "yellow"), (14.4, "red")),
                ),
            ),
        ),
        Row(
            "Traffic: who is asked for what?",
            (
                Panel(
                    "Calls per second by service",
                    "reqps",
                    (Query(rate(_HANDLED, *_WORK, by="job"), "{{job}}"),),
                ),
                Panel(
                    "Calls per second by method, through the router",
                    "reqps",
                    (
                        Query(
                            rate(_HANDLED, 'job="router"', *_WORK, by="grpc_method"),
                            "{{grpc_method}}",
                        ),
                    ),
                ),
            ),
        ),
        Row(
            "Errors: what fails, and where?",
            (
                Panel(
                    "Failed by our fault, by service and code",
                    "reqps",
                    (
                        Query(rate(_HANDLED, _OURS, *_WORK, by="job, grpc_code"), "{{job}} {{grpc_code}}"),
                        Query(_full("rate"), "{{job}} RESOURCE_EXHAUSTED"),
                    ),
                    stacked=True,
                ),
                Panel(
                    "Refused for what the caller did",
                    "reqps",
                    (
                        Query(rate(_HANDLED, _THEIRS, *_WORK, by="job"), "{{job}}"),
                        Query(rate(_REFUSED, _OWN_LIMITS, by="job"), "{{job}}, beyond his limits"),
                    ),
                ),
            ),
        ),
        Row(
            "Latency: how long do users wait?",
            (
                Panel(
                    "Pictures, through the router",
                    "s",
                    spread("grpc_server_handling_seconds", 'job="router"', 'grpc_method="Generate"', 'grpc_code="OK"'),
                    thresholds=((60, "red"),),
                ),
                Panel(
                    "First audio",
                    "s",
                    spread("voice_first_audio_seconds"),
                    thresholds=((0.5, "red"),),
                ),
                Panel(
                    "Slowest twentieth by service",
                    "s",
                    (
                        Query(
                            quantile(0.95, "grpc_server_handling_seconds", 'grpc_code="OK"', *_WORK, by="job"),
                            "{{job}}",
                        ),
                    ),
                ),
                Panel(
                    "A new request would wait",
                    "s",
                    tuple(
                        Query(f"max by (pod) ({of(f'{each}_queue_eta_seconds')})", "{{pod}}") for each in _WITH_MODELS
                    ),
                    thresholds=((10, "yellow"), (30, "red")),
                ),
            ),
        ),
        Row(
            "Saturation: what is full?",
            (
                Panel(
                    "Share of the queue that is taken",
                    "percentunit",
                    tuple(
                        Query(
                            f"{total(f'{each}_queue_depth', by='pod')} / {total(f'{each}_queue_limit', by='pod')}",
                            "{{pod}}",
                        )
                        for each in _WITH_MODELS
                    ),
                    thresholds=((0.5, "yellow"), (0.8, "red")),
                ),
                Panel(
                    "Share of the memory for weights that is taken",
                    "percentunit",
                    tuple(
                        Query(
                            f"{total(f'{each}_used_bytes', by='pod')} / {total(f'{each}_budget_bytes', by='pod')}",
                            "{{pod}}",
                        )
                        for each in _WITH_MODELS
                    ),
                    thresholds=((0.9, "yellow"),),
                ),
                Panel("Cores in use", "short", (Query(rate("process_cpu_seconds_total", by="pod"), "{{pod}}"),)),
                Panel(
                    "Memory of the processes",
                    "bytes",
                    (Query(total("process_resident_memory_bytes", by="pod"), "{{pod}}"),),
                ),
            ),
        ),
        Row(
            "Do models come and go without trouble?",
            (
                _models_counted("Models loaded", "loads", "model"),
                _models_counted("Models that left the device", "evictions", "reason"),
                Panel(
                    "Seconds to load and to unload (mean)",
                    "s",
                    tuple(
                        Query(mean(f"{each}_model_{what}_seconds", by="pod"), "{{pod}} " + what)
                        for each in _WITH_MODELS
                        for what in ("load", "unload")
                    ),
                ),
                Panel(
                    "Loads that failed, since the start",
                    "short",
                    tuple(
                        Query(
                            total(f"{each}_model_load_failures_total", by="pod, model, error"),
                            "{{pod}} {{model}} {{error}}",
                        )
                        for each in _WITH_MODELS
                    ),
                    thresholds=((1, "red"),),
                    may_be_empty=True,
                ),
            ),
        ),
        Row(
            "What runs, and since when?",
            (
                Panel("Builds", "short", (Query(of("servekit_build_info"), ""),), "table"),
                Panel("Up for", "s", (Query(f"time() - {of('process_start_time_seconds')}", "{{pod}}"),), "bargauge"),
            ),
        ),
        Row(
            "Does anything leak?",
            (
                Panel("Tasks of the event loop", "short", (Query(total("asyncio_tasks", by="pod"), "{{pod}}"),)),
                Panel(
                    "Calls begun and not ended",
                    "short",
                    (
                        Query(
                            f"{total(_STARTED, *_WORK, by='job')} - {total(_HANDLED, *_WORK, by='job')}",
                            "{{job}}",
                        ),
                    ),
                ),
                Panel(
                    "Share of the file handles that is taken",
                    "percentunit",
                    (
                        Query(
                            f"{total('process_open_fds', by='pod')} / {total('process_max_fds', by='pod')}", "{{pod}}"
                        ),
                    ),
                    thresholds=((0.5, "yellow"), (0.9, "red")),
                ),
            ),
        ),
        Row(
            "Has a limit been hit?",
            (
                Panel(
                    "Refused because full",
                    "short",
                    (Query(_full("increase"), "{{job}}"),),
                ),
                Panel(
                    "Too late",
                    "short",
                    (
                        Query(
                            increase(_HANDLED, 'grpc_code="DEADLINE_EXCEEDED"', *_WORK, by="job"),
                            "{{job}}",
                        ),
                    ),
                ),
                Panel(
                    "Given up by their callers",
                    "short",
                    (Query(increase(_HANDLED, 'grpc_code="CANCELLED"', *_WORK, by="job"), "{{job}}"),),
                ),
                Panel(
                    "Turned away at the door, by cause",
                    "reqps",
                    (Query(rate(_REFUSED, by="cause"), "{{cause}}"),),
                    description="Causes are in docs/operate/security.md, under What a caller is told.",
                    stacked=True,
                ),
            ),
        ),
    ),
)
