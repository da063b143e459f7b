"""Devices: which, why, how full and how busy."""

from deploy.grafana.model import Dashboard, Panel, Query, Row, Thresholds, increase, of, rate, total

_SERVICES = ("imagegen", "rewrite", "voice")
_ON_DEVICE = 'tier="device"'


def _driver(title: str, unit: str, figure: str, thresholds: Thresholds = ()) -> Panel:
    queries = tuple(Query(of(f"{each}_{figure}"), "{{pod}}") for each in _SERVICES)
    return Panel(title, unit, queries, thresholds=thresholds, may_be_empty=True)


GPU = Dashboard(
    uid="atelier-gpu",
    title="Atelier / GPU",
    description="Which device each service runs on and why, how much of it is taken, and whether it does anything.",
    rows=(
        Row(
            "Which device does each service use, and why?",
            (
                Panel(
                    "Devices",
                    "short",
                    tuple(Query(of(f"{each}_device_info")) for each in _SERVICES),
                    "table",
                    description="The reason says why a service is on the CPU although a GPU is there.",
                ),
                Panel(
                    "Pods by kind of device",
                    "short",
                    tuple(
                        Query(f"count by (kind) ({of(f'{each}_device_info')})", each + " {{kind}}")
                        for each in _SERVICES
                    ),
                    "stat",
                ),
            ),
        ),
        Row(
            "Is there room for another model?",
            (
                Panel(
                    "Budget and weights on the device",
                    "bytes",
                    tuple(
                        Query(total(f"{each}_{what}_bytes", by="pod"), "{{pod}} " + name)
                        for each in _SERVICES
                        for what, name in (("used", "used"), ("budget", "budget"))
                    ),
                ),
                Panel(
                    "Host memory for evicted weights",
                    "bytes",
                    tuple(
                        Query(total(f"{each}_host_{what}_bytes", by="pod"), "{{pod}} " + what)
                        for each in _SERVICES
                        for what in ("used", "budget")
                    ),
                ),
                Panel(
                    "Largest models on the devices",
                    "bytes",
                    tuple(
                        Query(
                            "topk(5, " + total(f"{each}_model_resident_bytes", _ON_DEVICE, by="pod, model") + ")",
                            "{{pod}} {{model}}",
                        )
                        for each in _SERVICES
                    ),
                    "bargauge",
                ),
                Panel(
                    "Out of memory",
                    "short",
                    tuple(
                        Query(
                            increase(f"{each}_model_out_of_memory_total", by="pod, model, phase"),
                            "{{pod}} {{model}} {{phase}}",
                        )
                        for each in _SERVICES
                    ),
                    thresholds=((1, "red"),),
                ),
            ),
        ),
        Row(
            "Does the device work, or does it wait?",
            (
                Panel(
                    "Share of the time the device thread works",
                    "percentunit",
                    tuple(Query(rate(f"{each}_device_busy_seconds_total", by="pod"), "{{pod}}") for each in _SERVICES),
                    thresholds=((0.95, "yellow"),),
                ),
                Panel(
                    "Jobs per second",
                    "short",
                    tuple(Query(rate(f"{each}_device_jobs_total", by="pod"), "{{pod}}") for each in _SERVICES),
                ),
                Panel(
                    "Jobs that wait for the device thread",
                    "short",
                    tuple(Query(total(f"{each}_device_queue_depth", by="pod"), "{{pod}}") for each in _SERVICES),
                ),
            ),
        ),
        Row(
            "What does the driver say of the card, whoever uses it?",
            (
                _driver("Memory taken, by all processes", "bytes", "gpu_used_bytes"),
                _driver("Memory nobody has taken", "bytes", "gpu_free_bytes"),
                _driver("Share of the time the card is busy", "percentunit", "gpu_utilisation_ratio"),
                _driver("Temperature", "celsius", "gpu_temperature_celsius", ((80, "yellow"), (90, "red"))),
            ),
        ),
    ),
)
