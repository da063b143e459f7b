"""Shows results to people."""

import sys
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from atelier.common.v1 import decision_pb2, types_pb2
from atelier.imagegen.v1 import image_service_pb2 as image_pb2
from atelier.imagegen.v1 import imagegen_pb2
from atelier.models.v1 import models_pb2
from atelier.router.v1 import router_service_pb2 as router_pb2
from atelier.voice.v1 import voice_pb2
from atelier_client import AtelierError, ImageResult, SpeechResult
from atelier_client.cli.doctor import Check

_UNWRAPPED = 10_000
"""Columns of what no terminal shows: lines stay whole for the program that reads them."""

OUT = Console(emoji=False, width=None if sys.stdout.isatty() else _UNWRAPPED)
ERR = Console(emoji=False, stderr=True, width=None if sys.stderr.isatty() else _UNWRAPPED)


def image(result: ImageResult, paths: Iterable[Path], out: Console = OUT) -> None:
    """Show the decision, the plan, what changed, the stages and the files that are written already."""
    if result.rewritten:
        out.print(f"rewritten   {escape(result.rewritten.prompt)}\n            {escape(result.rewritten.reason)}")
    if result.routed:
        decision(result.routed, out)
    if result.plan:
        plan(result.plan, out)
    for blocked in result.blocked:
        cause = imagegen_pb2.Cause.Name(blocked.cause).removeprefix("CAUSE_").lower()
        out.print(f"[red]blocked[/]     picture {blocked.index + 1}: {cause}, {len(blocked.attempts)} attempts")
    if result.summary:
        if not result.plan:  # which has them already
            adjustments(result.summary.adjustments, out)
        stages(result.summary.stages, result.summary.total_seconds, out)
        if result.summary.untrained:
            out.print("[yellow]note[/]        the model's weights are untrained: the picture means nothing")
    for made, path in zip(result.pictures, paths, strict=False):
        picture(made.header, path, out)


def picture(header: image_pb2.ImageHeader, path: Path, out: Console) -> None:
    """Show where a picture is, and what it takes to make it again."""
    flagged = ", [yellow]flagged[/]" if header.safety.flagged else ""
    out.print(
        f"[green]wrote[/]       {escape(str(path))} ({header.width}x{header.height}, seed {header.seed}{flagged})"
    )


def plan(row: image_pb2.Plan, out: Console) -> None:
    """Show what a generation would do, and why."""
    loaded = "loaded" if row.resident else "not loaded"
    eta = f", about {row.eta_seconds:.1f} s" if row.eta_seconds else ""
    out.print(
        f"plan        {row.model}, {row.width}x{row.height}, {row.steps} steps, guidance {row.guidance:g}, "
        f"{row.scheduler}, count {row.count}, {loaded}{eta}"
    )
    for choice in row.choices:
        out.print(f"chosen      {escape(f'{choice.name}: {choice.value} ({choice.reason})')}")
    adjustments(row.adjustments, out)


def adjustments(rows: Iterable[types_pb2.Adjustment], out: Console) -> None:
    """Show the values that were changed."""
    for row in rows:
        out.print(f"adjusted    {escape(f'{row.field}: {row.requested} -> {row.used} ({row.reason})')}")


def decision(routed: decision_pb2.Routed, out: Console) -> None:
    """Show which model was chosen, with all scores and the reason."""
    out.print(f"model       [bold]{routed.model}[/] at {routed.backend or 'this server'}: {escape(routed.reason)}")
    if routed.scores:
        out.print("scores      " + ", ".join(f"{each.model} {each.score:.2f}" for each in routed.scores))
    if routed.degraded:
        out.print(f"[yellow]degraded[/]    {escape(routed.degraded)}")


def stages(rows: Iterable[types_pb2.StageSeconds], total: float, out: Console) -> None:
    """Show the seconds per stage."""
    parts = ", ".join(f"{row.stage} {row.seconds:.3f}" for row in rows)
    out.print(f"seconds     {parts}{'; ' if parts else ''}{total:.3f} in all")


def speech(result: SpeechResult, path: Path, out: Console = OUT) -> None:
    """Show who spoke, what changed, how fast, and the file."""
    summary = result.summary
    out.print(f"voice       [bold]{summary.voice}[/] ({summary.model})")
    adjustments(summary.adjustments, out)
    out.print(
        f"seconds     first audio {summary.first_audio_seconds:.3f}, {summary.total_seconds:.3f} in all "
        f"for {summary.audio_seconds:.2f} of audio (real-time factor {summary.real_time_factor:.4f})"
    )
    out.print(f"[green]wrote[/]       {escape(str(path))} ({result.header.media_type}, {result.header.sample_rate} Hz)")


def route(reply: router_pb2.RouteResponse) -> None:
    """Show a dry run."""
    verdict = decision_pb2.Verdict.Name(reply.screening.verdict).removeprefix("VERDICT_").lower()
    found = ", ".join(f"{each.category} ({each.rule_id})" for each in reply.screening.findings)
    OUT.print(f"screening   {verdict}{': ' + found if found else ''}")
    if reply.HasField("rewritten"):
        OUT.print(f"rewritten   {escape(reply.rewritten.prompt)}")
    decision(reply.routed, OUT)
    plan = reply.plan
    if plan.model:
        OUT.print(
            f"plan        {plan.width}x{plan.height}, {plan.steps} steps, guidance {plan.guidance:g}, "
            f"{'loaded' if plan.resident else 'not loaded'}, about {reply.eta_seconds:.1f} s"
        )
    elif not reply.HasField("plan"):
        OUT.print("plan        none, the prompt would be refused")


def models(backends: Iterable[router_pb2.Backend]) -> None:
    """Show every model and where its weights are."""
    table = _table("service", "model", "state", "device MiB", "licence", "strengths")
    for backend in backends:
        for model in backend.models:
            table.add_row(
                backend.service,
                f"{model.id}{' (default)' if model.is_default else ''}",
                _state(model.residency),
                f"{model.residency.device_bytes / 2**20:.0f}{'' if model.residency.measured else ' est.'}",
                f"{model.license}{', gated' if model.gated else ''}",
                escape(model.strengths),
            )
    OUT.print(table)


def model(row: models_pb2.Model) -> None:
    """Show one model and where its weights are."""
    size = f"{row.residency.device_bytes / 2**20:.0f} MiB{'' if row.residency.measured else ' est.'}"
    OUT.print(f"[bold]{escape(row.id)}[/]: {_state(row.residency)}, {size}")


def voices(rows: Iterable[voice_pb2.Voice]) -> None:
    """Show every voice."""
    table = _table("voice", "name", "languages", "gender", "model")
    for voice in rows:
        table.add_row(voice.id, escape(voice.display_name), ", ".join(voice.languages), voice.gender, voice.model)
    OUT.print(table)


def status(backends: Iterable[router_pb2.Backend]) -> None:
    """Show every server: health, device and why, memory, queue."""
    for backend in backends:
        state = router_pb2.BackendState.Name(backend.state).removeprefix("BACKEND_STATE_").lower()
        colour = "green" if state == "serving" else "red"
        where = escape(f"{backend.name} at {backend.address}")
        OUT.print(f"[bold]{backend.service}[/] {where}: [{colour}]{state}[/] {backend.version}")
        if backend.HasField("device"):
            device = backend.device
            OUT.print(f"  device    {escape(device.name)} ({device.id}), {device.dtype}, {device.threads} threads")
            OUT.print(f"  because   {escape(device.reason)}")
            OUT.print(
                f"  memory    {device.used_bytes / 2**20:.0f} of {device.budget_bytes / 2**20:.0f} MiB for weights"
            )
            OUT.print(f"  queue     {backend.queued} waiting, {backend.queue_eta_seconds:.1f} s")


def checks(rows: Iterable[Check]) -> bool:
    """Show the doctor's findings and return whether all is well."""
    healthy = True
    for row in rows:
        healthy = healthy and row.ok
        OUT.print(
            f"[{'green' if row.ok else 'red'}]{'ok ' if row.ok else 'BAD'}[/] {row.name:<14} {escape(row.finding)}"
        )
    return healthy


def error(problem: AtelierError) -> None:
    """Show what was wrong with a call and what would be accepted."""
    complain(str(problem))


def complain(problem: str) -> None:
    """Show what was wrong."""
    ERR.print(f"[red]error[/] {escape(problem)}")


def _state(residency: models_pb2.Residency) -> str:
    state = models_pb2.ModelState.Name(residency.state).removeprefix("MODEL_STATE_").lower()
    return f"{state}{', pinned' if residency.pinned else ''}"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
