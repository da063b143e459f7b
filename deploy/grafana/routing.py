"""Decisions: the router, and rewrite_llm that it asks."""

from deploy.grafana.model import Dashboard, Panel, Query, Row, increase, mean, of, quantile, rate, share, spread, total

ROUTING = Dashboard(
    uid="atelier-routing",
    title="Atelier / router and rewrite_llm",
    description="Which models are chosen, and how surely? What is rewritten or refused? Are the servers behind there?",
    rows=(
        Row(
            "Are the servers behind the router there?",
            (
                Panel(
                    "Usable servers",
                    "short",
                    (Query(f"max by (backend) ({of('router_backend_up')})", "{{backend}}"),),
                    "stat",
                    ((0, "red"), (1, "green")),
                ),
                Panel(
                    "Calls under way", "short", (Query(total("router_backend_in_flight", by="backend"), "{{backend}}"),)
                ),
                Panel(
                    "Failed calls by server and code",
                    "short",
                    (Query(increase("router_backend_errors_total", by="backend, code"), "{{backend}} {{code}}"),),
                ),
            ),
        ),
        Row(
            "Who decides, and how fast?",
            (
                Panel(
                    "Decisions by model",
                    "reqps",
                    (Query(rate("router_decisions_total", by="model"), "{{model}}"),),
                    stacked=True,
                ),
                Panel(
                    "Decisions by who judged",
                    "reqps",
                    (Query(rate("router_decisions_total", by="source, kind"), "{{source}} {{kind}}"),),
                    stacked=True,
                ),
                Panel(
                    "Seconds per decision",
                    "s",
                    spread("router_decision_seconds"),
                    thresholds=((0.25, "yellow"),),
                ),
            ),
        ),
        Row(
            "How sure are the decisions?",
            (
                Panel(
                    "Margin between the two best (half)",
                    "percentunit",
                    (
                        Query(quantile(0.5, "router_margin_ratio"), "router"),
                        Query(quantile(0.5, "rewrite_selection_margin_ratio", by="source"), "rewrite_llm, {{source}}"),
                    ),
                ),
                Panel(
                    "Choices of rewrite_llm by who judged, and whether for want of a better",
                    "reqps",
                    (
                        Query(
                            rate("rewrite_selections_total", by="source, defaulted"),
                            "{{source}}, default {{defaulted}}",
                        ),
                    ),
                    stacked=True,
                ),
            ),
        ),
        Row(
            "Does the router have to do without rewrite_llm?",
            (
                Panel(
                    "Judged without it",
                    "short",
                    (Query(increase("router_degraded_total", by="stage"), "{{stage}}"),),
                    thresholds=((1, "red"),),
                ),
                Panel(
                    "Questions the language model left unanswered",
                    "short",
                    (Query(increase("rewrite_llm_degraded_total", by="cause"), "{{cause}}"),),
                ),
                Panel(
                    "Moved to another replica",
                    "short",
                    (Query(increase("router_retries_total", by="backend"), "{{backend}}"),),
                ),
            ),
        ),
        Row(
            "What is unsafe, and what becomes of it?",
            (
                Panel(
                    "Prompts by verdict",
                    "reqps",
                    (Query(rate("rewrite_screenings_total", by="verdict"), "{{verdict}}"),),
                    stacked=True,
                ),
                Panel(
                    "What was found",
                    "short",
                    (Query(increase("rewrite_findings_total", by="category"), "{{category}}"),),
                    stacked=True,
                ),
                Panel(
                    "Rewritten, by category",
                    "short",
                    (Query(increase("router_rewrites_total", by="category"), "{{category}}"),),
                    stacked=True,
                ),
                Panel(
                    "Refused, by category",
                    "short",
                    (Query(increase("router_blocked_total", by="category"), "{{category}}"),),
                    stacked=True,
                ),
                Panel(
                    "Share of rewritings that end in a block",
                    "percentunit",
                    (Query(share("rewrite_rewrites_total", 'verdict="block"'), "blocked"),),
                ),
            ),
        ),
        Row(
            "Is rewrite_llm fast enough?",
            (
                Panel(
                    "Seconds by use case (slowest twentieth)",
                    "s",
                    (Query(quantile(0.95, "rewrite_stage_seconds", by="stage"), "{{stage}}"),),
                ),
                Panel(
                    "Wait in the queue (slowest twentieth)",
                    "s",
                    (Query(quantile(0.95, "rewrite_queue_wait_seconds", by="stage"), "{{stage}}"),),
                ),
                Panel(
                    "Seconds of the language model (slowest twentieth)",
                    "s",
                    (Query(quantile(0.95, "rewrite_llm_seconds", by="task"), "{{task}}"),),
                ),
                Panel(
                    "Questions that shared a pass (mean)",
                    "short",
                    (
                        Query(
                            mean("rewrite_llm_batch_size", by="task"),
                            "{{task}}",
                        ),
                    ),
                ),
            ),
        ),
    ),
)
