"""The commands that make pictures, or say how they would be made."""

from pathlib import Path
from typing import Annotated, Any

import typer

from atelier_client._channel import DEFAULT_TARGET
from atelier_client.cli import files, render
from atelier_client.cli.calls import PICTURES, ROUTER, Server, Timeout, connected, given
from atelier_client.cli.progress import ImageProgress


def image(
    context: typer.Context,
    prompt: Annotated[str, typer.Argument(help="What to show.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="File to write, - for standard output; picture 2 becomes NAME-2.")
    ] = Path("image.png"),
    model: Annotated[str, typer.Option(help="Model id; empty to let the studio choose.")] = "",
    negative: Annotated[str, typer.Option(help="What to avoid.")] = "",
    size: Annotated[str | None, typer.Option(help="Size as WIDTHxHEIGHT in pixels.")] = None,
    tier: Annotated[str | None, typer.Option(help="fast, standard or best: quality against time.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale.")] = None,
    scheduler: Annotated[str, typer.Option(help="Name of a scheduler of the model.")] = "",
    seed: Annotated[int | None, typer.Option(help="Seed; the same seed makes the same picture.")] = None,
    count: Annotated[int | None, typer.Option(help="Number of pictures.")] = None,
    source: Annotated[Path | None, typer.Option(help="Picture to start from.")] = None,
    mask: Annotated[Path | None, typer.Option(help="Mask over --source: white is painted anew.")] = None,
    strength: Annotated[float | None, typer.Option(help="How far to depart from --source, over 0 to 1.")] = None,
    adapter: Annotated[
        list[str] | None, typer.Option(help="LoRA adapter as ID or ID:WEIGHT; may be given several times.")
    ] = None,
    safety: Annotated[str | None, typer.Option(help="block, flag or ignore what the safety check flags.")] = None,
    priority: Annotated[str | None, typer.Option(help="low, normal or high: place in the queue.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, make nothing.")] = False,
    server: Server = DEFAULT_TARGET,
    timeout: Timeout = 600.0,
) -> None:
    """Make a picture and write it to a file. The file's suffix chooses PNG, JPEG or WebP."""
    width, height = _size(size)
    options = given(
        model=model,
        negative_prompt=negative,
        width=width,
        height=height,
        tier=tier,
        steps=steps,
        guidance=guidance,
        scheduler=scheduler,
        seed=seed,
        count=count,
        source=_source(source, mask, strength),
        adapters=[_adapter(each) for each in adapter or ()],
        safety=safety,
        priority=priority,
        dry_run=dry_run or None,
        format=files.suffix_format(output),
    )
    if not dry_run:
        files.check_output(output, count or 1)
    with connected(context, server, timeout, PICTURES) as client, ImageProgress() as progress:
        result = client.image(prompt, on_event=progress.feed, **options)
    out = files.console(output)
    render.image(result, [], out)
    for picture, path in zip(result.pictures, files.numbered(output, len(result.pictures)), strict=True):
        render.picture(picture.header, files.write(path, picture.data), out)
    if not (result.pictures or dry_run):
        raise typer.Exit(code=2)


def route(
    context: typer.Context,
    prompt: Annotated[str, typer.Argument(help="What to show.")],
    server: Server = DEFAULT_TARGET,
    timeout: Timeout = 30.0,
) -> None:
    """Show which model would make a picture, and why, without making it."""
    with connected(context, server, timeout, ROUTER) as client:
        render.route(client.route(prompt))


def _size(text: str | None) -> tuple[int | None, int | None]:
    if text is None:
        return None, None
    width, cross, height = text.lower().partition("x")
    if not (cross and _is_number(width) and _is_number(height)):
        raise typer.BadParameter(f"{text!r} is not WIDTHxHEIGHT, for instance 768x512", param_hint="--size")
    return int(width), int(height)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10


def _source(source: Path | None, mask: Path | None, strength: float | None) -> dict[str, Any] | None:
    if source is None:
        if mask is not None or strength is not None:
            raise typer.BadParameter("needed by --mask and --strength", param_hint="--source")
        return None
    return {"data": files.read(source, "--source"), "mask": files.read(mask, "--mask"), "strength": strength}


def _adapter(text: str) -> dict[str, Any]:
    name, colon, weight = text.partition(":")
    try:
        return {"id": name, "weight": float(weight) if colon else None}
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not ID:WEIGHT, for instance ink:0.8", param_hint="--adapter") from None
