"""Pictures: models that come and go, the queue, the stages, and what went wrong with the output."""

from deploy.grafana.model import Dashboard, Panel, Query, Row, increase, mean, of, quantile, rate, share, total

_VERDICTS = "imagegen_verdicts_total"

IMAGEGEN = Dashboard(
    uid="atelier-imagegen",
    title="Atelier / imagegen",
    description="Which models are resident, who pushes whom out, where does the time go, are the pictures fit to show?",
    rows=(
        Row(
            "Which models are resident, and is there room?",
            (
                Panel(
                    "Bytes on the device by model",
                    "bytes",
                    (Query(total("imagegen_model_resident_bytes", 'tier="device"', by="model") + " > 0", "{{model}}"),),
                    stacked=True,
                ),
                Panel(
                    "Share of the budget that is taken",
                    "percentunit",
                    (
                        Query(
                            f"{total('imagegen_used_bytes', by='pod')} / {total('imagegen_budget_bytes', by='pod')}",
                            "{{pod}}",
                        ),
                    ),
                    thresholds=((0.9, "yellow"),),
                ),
                Panel(
                    "Bytes kept in host memory by model",
                    "bytes",
                    (Query(total("imagegen_model_resident_bytes", 'tier="host"', by="model"), "{{model}}"),),
                    stacked=True,
                ),
            ),
        ),
        Row(
            "Are models swapped, and who causes it?",
            (
                Panel(
                    "Swaps: who left for whom",
                    "short",
                    (
                        Query(
                            increase("imagegen_model_evictions_total", 'reason="room"', by="model, wanted_by"),
                            "{{model}} for {{wanted_by}}",
                        ),
                    ),
                ),
                Panel(
                    "Evictions by reason",
                    "short",
                    (Query(increase("imagegen_model_evicted_age_seconds_count", by="reason"), "{{reason}}"),),
                    stacked=True,
                ),
                Panel(
                    "How long an evicted model had been there (half)",
                    "s",
                    (Query(quantile(0.5, "imagegen_model_evicted_age_seconds", 'reason="room"'), "half"),),
                ),
                Panel(
                    "Seconds to load (slowest twentieth)",
                    "s",
                    (
                        Query(
                            quantile(0.95, "imagegen_model_load_seconds", by="model, origin"),
                            "{{model}} from {{origin}}",
                        ),
                    ),
                ),
            ),
        ),
        Row(
            "Who waits, and how long?",
            (
                Panel(
                    "In the queue and at work",
                    "short",
                    (
                        Query(total("imagegen_queue_depth"), "waiting"),
                        Query(total("imagegen_running"), "at work"),
                        Query(total("imagegen_queue_limit"), "limit"),
                    ),
                ),
                Panel(
                    "Wait in the queue (slowest twentieth)",
                    "s",
                    (Query(quantile(0.95, "imagegen_queue_wait_seconds", by="model"), "{{model}}"),),
                    thresholds=((10, "yellow"), (30, "red")),
                ),
                Panel(
                    "A new request would wait",
                    "s",
                    (Query(f"max by (pod) ({of('imagegen_queue_eta_seconds')})", "{{pod}}"),),
                    thresholds=((10, "yellow"), (30, "red")),
                ),
            ),
        ),
        Row(
            "Where does the time go?",
            (
                Panel(
                    "Seconds per picture by stage (mean)",
                    "s",
                    (
                        Query(
                            mean("imagegen_stage_seconds", by="stage"),
                            "{{stage}}",
                        ),
                    ),
                    stacked=True,
                ),
                Panel(
                    "Denoising (slowest twentieth)",
                    "s",
                    (Query(quantile(0.95, "imagegen_stage_seconds", 'stage="denoise"', by="model"), "{{model}}"),),
                ),
                Panel(
                    "Share of the time the device thread works",
                    "percentunit",
                    (Query(rate("imagegen_device_busy_seconds_total", by="pod"), "{{pod}}"),),
                ),
            ),
        ),
        Row(
            "Is the device used well?",
            (
                Panel(
                    "Pictures per second",
                    "short",
                    (Query(rate("imagegen_images_total", by="model"), "{{model}}"),),
                    stacked=True,
                ),
                Panel(
                    "Denoising steps per second",
                    "short",
                    (Query(rate("imagegen_steps_total", by="model"), "{{model}}"),),
                ),
                Panel(
                    "Pictures that shared a pass (mean)",
                    "short",
                    (
                        Query(
                            mean("imagegen_batch_size", by="model"),
                            "{{model}}",
                        ),
                    ),
                ),
                Panel(
                    "Seconds of a step (half)",
                    "s",
                    (Query(quantile(0.5, "imagegen_step_seconds", by="model"), "{{model}}"),),
                ),
            ),
        ),
        Row(
            "Are the pictures fit to be shown?",
            (
                Panel(
                    "Black or not finite",
                    "percentunit",
                    (Query(share(_VERDICTS, 'verdict=~"black|non_finite"', "model"), "{{model}}"),),
                    thresholds=((0.02, "red"),),
                ),
                Panel(
                    "Flagged as unsafe",
                    "percentunit",
                    (Query(share(_VERDICTS, 'verdict="unsafe"', "model"), "{{model}}"),),
                    thresholds=((0.2, "red"),),
                ),
                Panel(
                    "Scores of the safety check (highest twentieth)",
                    "percentunit",
                    (Query(quantile(0.95, "imagegen_unsafe_score_ratio", by="model"), "{{model}}"),),
                ),
                Panel(
                    "Blocked in the end",
                    "percentunit",
                    (Query(share("imagegen_images_total", 'outcome="blocked"', "model"), "{{model}}"),),
                ),
            ),
        ),
        Row(
            "Does recovery help?",
            (
                Panel(
                    "Attempts that led to another, by remedy",
                    "short",
                    (Query(increase("imagegen_retries_total", by="remedy"), "{{remedy}}"),),
                    stacked=True,
                ),
                Panel(
                    "Pictures that a remedy saved",
                    "short",
                    (Query(increase("imagegen_recoveries_total", by="remedy"), "{{remedy}}"),),
                    stacked=True,
                ),
                Panel(
                    "Handed to the fallback model",
                    "short",
                    (
                        Query(
                            increase("imagegen_fallbacks_total", by="from_model, to_model"),
                            "{{from_model}} to {{to_model}}",
                        ),
                    ),
                ),
                Panel(
                    "Out of memory",
                    "short",
                    (Query(increase("imagegen_model_out_of_memory_total", by="model, phase"), "{{model}} {{phase}}"),),
                    thresholds=((1, "red"),),
                ),
            ),
        ),
    ),
)
