"""A live progress bar fed with the events of a generation."""

from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from atelier.imagegen.v1 import image_service_pb2 as image_pb2


class ImageProgress:
    """Shows what a generation is doing on the standard error stream; only retries where that is no terminal."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("deciding", total=1)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def feed(self, event: image_pb2.GenerateResponse) -> None:
        """Show one event."""
        match event.WhichOneof("event"):
            case "routed":
                self._show(f"{event.routed.model} chosen", 0, 1)
            case "queued":
                self._show(f"waiting, {event.queued.position} ahead", 0, 1)
            case "loading":
                self._show(f"loading {event.loading.model}", round(event.loading.fraction * 100), 100)
            case "progress":
                self._show("drawing", event.progress.step, event.progress.total)
            case "retry":
                self._progress.console.print(f"[yellow]again:[/] {escape(event.retry.message)}")

    def _show(self, what: str, done: int, total: int) -> None:
        self._progress.update(self._task, description=what, completed=done, total=total)
