"""Live progress bars fed with the events of a call, on the standard error stream."""

from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from atelier.common.v1 import types_pb2
from atelier.imagegen.v1 import image_service_pb2 as image_pb2


class _Bar:
    """Is shown while inside, and leaves nothing behind."""

    def __init__(self, what: str) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task(what, total=1)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def _show(self, what: str, done: int, total: int) -> None:
        self._progress.update(self._task, description=escape(what), completed=done, total=total)

    def _loading(self, loading: types_pb2.Loading) -> None:
        self._show(f"loading {loading.model}", round(loading.fraction * 100), 100)


class LoadingProgress(_Bar):
    """Shows how far a model is loaded."""

    def __init__(self) -> None:
        super().__init__("waiting")

    def feed(self, event: types_pb2.Loading) -> None:
        """Show one event."""
        self._loading(event)


class ImageProgress(_Bar):
    """Shows what a generation is doing; only retries where that is no terminal."""

    def __init__(self) -> None:
        super().__init__("deciding")

    def feed(self, event: image_pb2.GenerateResponse) -> None:
        """Show one event."""
        match event.WhichOneof("event"):
            case "routed":
                self._show(f"{event.routed.model} chosen", 0, 1)
            case "queued":
                self._show(f"waiting, {event.queued.position} ahead", 0, 1)
            case "loading":
                self._loading(event.loading)
            case "progress":
                self._show("drawing", event.progress.step, event.progress.total)
            case "retry":
                self._progress.console.print(f"[yellow]again:[/] {escape(event.retry.message)}")
