"""Shows results to people."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from atelier.common.v1 import decision_pb2, types_pb2
from atelier.imagegen.v1 import imagegen_pb2
from atelier.models.v1 import models_pb2
from atelier.router.v1 import router_service_pb2 as router_pb2
from atelier.voice.v1 import voice_pb2
from atelier_client import AtelierError, ImageResult, SpeechResult
from atelier_client.cli.doctor import Check

_UNWRAPPED = 10_000
"""Columns of what no terminal shows: lines stay whole for the program that reads them."""

_out = Console(width=None if sys.stdout.isatty() else _UNWRAPPED)
_err = Console(stderr=True, width=None if sys.stderr.isatty() else _UNWRAPPED)


def image(result: ImageResult, paths: Sequence[Path]) -> None:
    """Show the decision, what changed, the stages and the files."""
    if result.rewritten:
        _out.print(f"rewritten   {escape(result.rewritten.prompt)}\n            {escape(result.rewritten.reason)}")
    if result.routed:
        decision(result.routed)
    if result.plan:
        _out.print(
            f"plan        {result.plan.model}, {result.plan.width}x{result.plan.height}, {result.plan.steps} steps"
        )
    for blocked in result.blocked:
        cause = imagegen_pb2.Cause.Name(blocked.cause).removeprefix("CAUSE_").lower()
        _out.print(f"[red]blocked[/]     picture {blocked.index + 1}: {cause}, {len(blocked.attempts)} attempts")
    if result.summary:
        for change in result.summary.adjustments:
            _out.print(f"adjusted    {change.field}: {change.requested} -> {change.used} ({escape(change.reason)})")
        stages(result.summary.stages, result.summary.total_seconds)
        if result.summary.untrained:
            _out.print("[yellow]note[/]        the model's weights are untrained: the picture means nothing")
    for picture, path in zip(result.pictures, paths, strict=True):
        header = picture.header
        _out.print(f"[green]wrote[/]       {escape(str(path))} ({header.width}x{header.height}, seed {header.seed})")


def decision(routed: decision_pb2.Routed) -> None:
    """Show which model was chosen, with all scores and the reason."""
    _out.print(f"model       [bold]{routed.model}[/] at {routed.backend or 'this server'}: {escape(routed.reason)}")
    if routed.scores:
        _out.print("scores      " + ", ".join(f"{each.model} {each.score:.2f}" for each in routed.scores))
    if routed.degraded:
        _out.print(f"[yellow]degraded[/]    {escape(routed.degraded)}")


def stages(rows: Iterable[types_pb2.StageSeconds], total: float) -> None:
    """Show the seconds per stage."""
    parts = ", ".join(f"{row.stage} {row.seconds:.3f}" for row in rows)
    _out.print(f"seconds     {parts}; {total:.3f} in all")


def speech(result: SpeechResult, path: Path) -> None:
    """Show who spoke, how fast, and the file."""
    summary = result.summary
    _out.print(f"voice       [bold]{summary.voice}[/] ({summary.model})")
    _out.print(
        f"seconds     first audio {summary.first_audio_seconds:.3f}, {summary.total_seconds:.3f} in all "
        f"for {summary.audio_seconds:.2f} of audio (real-time factor {summary.real_time_factor:.4f})"
    )
    _out.print(
        f"[green]wrote[/]       {escape(str(path))} ({result.header.media_type}, {result.header.sample_rate} Hz)"
    )


def route(reply: router_pb2.RouteResponse) -> None:
    """Show a dry run."""
    verdict = decision_pb2.Verdict.Name(reply.screening.verdict).removeprefix("VERDICT_").lower()
    found = ", ".join(f"{each.category} ({each.rule_id})" for each in reply.screening.findings)
    _out.print(f"screening   {verdict}{': ' + found if found else ''}")
    if reply.HasField("rewritten"):
        _out.print(f"rewritten   {escape(reply.rewritten.prompt)}")
    decision(reply.routed)
    plan = reply.plan
    if plan.model:
        _out.print(
            f"plan        {plan.width}x{plan.height}, {plan.steps} steps, guidance {plan.guidance:g}, "
            f"{'loaded' if plan.resident else 'not loaded'}, about {reply.eta_seconds:.1f} s"
        )


def models(backends: Iterable[router_pb2.Backend]) -> None:
    """Show every model and where its weights are."""
    table = _table("service", "model", "state", "device MiB", "licence", "strengths")
    for backend in backends:
        for model in backend.models:
            state = models_pb2.ModelState.Name(model.residency.state).removeprefix("MODEL_STATE_").lower()
            table.add_row(
                backend.service,
                f"{model.id}{' (default)' if model.is_default else ''}",
                f"{state}{', pinned' if model.residency.pinned else ''}",
                f"{model.residency.device_bytes / 2**20:.0f}{'' if model.residency.measured else ' est.'}",
                f"{model.license}{', gated' if model.gated else ''}",
                escape(model.strengths),
            )
    _out.print(table)


def voices(rows: Iterable[voice_pb2.Voice]) -> None:
    """Show every voice."""
    table = _table("voice", "name", "languages", "gender", "model")
    for voice in rows:
        table.add_row(voice.id, escape(voice.display_name), ", ".join(voice.languages), voice.gender, voice.model)
    _out.print(table)


def status(backends: Iterable[router_pb2.Backend]) -> None:
    """Show every server: health, device and why, memory, queue."""
    for backend in backends:
        state = router_pb2.BackendState.Name(backend.state).removeprefix("BACKEND_STATE_").lower()
        colour = "green" if state == "serving" else "red"
        _out.print(
            f"[bold]{backend.service}[/] {backend.name} at {backend.address}: [{colour}]{state}[/] {backend.version}"
        )
        if backend.HasField("device"):
            device = backend.device
            _out.print(f"  device    {escape(device.name)} ({device.id}), {device.dtype}, {device.threads} threads")
            _out.print(f"  because   {escape(device.reason)}")
            _out.print(
                f"  memory    {device.used_bytes / 2**20:.0f} of {device.budget_bytes / 2**20:.0f} MiB for weights"
            )
            _out.print(f"  queue     {backend.queued} waiting, {backend.queue_eta_seconds:.1f} s")


def checks(rows: Iterable[Check]) -> bool:
    """Show the doctor's findings and return whether all is well."""
    healthy = True
    for row in rows:
        healthy = healthy and row.ok
        _out.print(
            f"[{'green' if row.ok else 'red'}]{'ok ' if row.ok else 'BAD'}[/] {row.name:<14} {escape(row.finding)}"
        )
    return healthy


def error(problem: AtelierError) -> None:
    """Show what was wrong and what would be accepted."""
    _err.print(f"[red]error[/] {escape(str(problem))}")


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
