"""Speech: when it begins, whether it keeps up, and what was said over."""

from deploy.grafana.model import Dashboard, Panel, Query, Row, increase, mean, quantile, rate, spread, total

VOICE = Dashboard(
    uid="atelier-voice",
    title="Atelier / voice",
    description="Does speech begin soon, does it keep up with the listener, and do the engines hold?",
    rows=(
        Row(
            "How soon do users hear something?",
            (
                Panel(
                    "First audio",
                    "s",
                    spread("voice_first_audio_seconds", by="model"),
                    thresholds=((0.5, "red"),),
                ),
                Panel(
                    "Wait in the queue (slowest twentieth)",
                    "s",
                    (Query(quantile(0.95, "voice_queue_wait_seconds", by="model"), "{{model}}"),),
                ),
                Panel(
                    "Seconds by stage (mean)",
                    "s",
                    (
                        Query(
                            mean("voice_stage_seconds", by="stage"),
                            "{{stage}}",
                        ),
                    ),
                    stacked=True,
                ),
            ),
        ),
        Row(
            "Does speech keep up with the listener?",
            (
                Panel(
                    "Work per second of audio (slowest twentieth)",
                    "short",
                    (Query(quantile(0.95, "voice_real_time_factor", by="model"), "{{model}}"),),
                    thresholds=((0.7, "yellow"), (1, "red")),
                    description="Above 1 the listener waits.",
                ),
                Panel(
                    "Audio that came too late to be played",
                    "short",
                    (Query(increase("voice_underruns_total", by="model"), "{{model}}"),),
                    thresholds=((1, "red"),),
                ),
                Panel(
                    "Seconds of audio made per second",
                    "short",
                    (Query(rate("voice_audio_seconds_total", by="model"), "{{model}}"),),
                ),
            ),
        ),
        Row(
            "How much is asked of it?",
            (
                Panel(
                    "Waiting and speaking",
                    "short",
                    (
                        Query(total("voice_queue_depth"), "waiting"),
                        Query(total("voice_running"), "speaking"),
                        Query(total("voice_queue_limit"), "limit"),
                    ),
                ),
                Panel(
                    "Characters per second", "short", (Query(rate("voice_characters_total", by="model"), "{{model}}"),)
                ),
                Panel(
                    "Sentences per second", "short", (Query(rate("voice_sentences_total", by="model"), "{{model}}"),)
                ),
            ),
        ),
        Row(
            "Do the engines hold?",
            (
                Panel(
                    "Said over, by cause",
                    "short",
                    (Query(increase("voice_retries_total", by="cause"), "{{cause}}"),),
                    stacked=True,
                ),
                Panel(
                    "Given up, by cause",
                    "short",
                    (Query(increase("voice_rejections_total", by="cause"), "{{cause}}"),),
                    stacked=True,
                    thresholds=((1, "red"),),
                ),
                Panel(
                    "Engines loaded", "short", (Query(increase("voice_model_loads_total", by="model"), "{{model}}"),)
                ),
                Panel(
                    "Bytes of loaded engines",
                    "bytes",
                    (Query(total("voice_model_resident_bytes", by="model, tier"), "{{model}} {{tier}}"),),
                ),
            ),
        ),
        Row(
            "Where do engines with a choice of devices run?",
            (
                Panel(
                    "Engines by device mode",
                    "short",
                    (Query(total("voice_engine_mode", by="model, mode") + " > 0", "{{model}} {{mode}}"),),
                    description="Only XTTS has a choice.",
                    may_be_empty=True,
                ),
                Panel(
                    "Device modes that failed, since the start",
                    "short",
                    (
                        Query(
                            total("voice_engine_mode_fallbacks_total", by="model, before, mode"),
                            "{{model}} from {{before}} to {{mode}}",
                        ),
                    ),
                    thresholds=((1, "red"),),
                    may_be_empty=True,
                ),
                Panel(
                    "Share of the time the device thread works",
                    "percentunit",
                    (Query(rate("voice_device_busy_seconds_total", by="pod"), "{{pod}}"),),
                    thresholds=((0.95, "yellow"),),
                    description="All of XTTS runs there; without it only a heartbeat does.",
                ),
            ),
        ),
    ),
)
