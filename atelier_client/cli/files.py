"""Files that are read and written; `-` is standard input and output."""

import errno
import os
import stat
from pathlib import Path

import typer
from rich.console import Console

from atelier_client.cli import render

STANDARD = Path("-")
_MOST_CHECKED = 100
"""More pictures than any server makes at once."""


def check_output(output: Path, count: int = 1) -> None:
    """Make the file's folder, so that what cannot be written is told before the work is done and not after.

    Raises:
        typer.BadParameter: one of `count` files cannot be written.
    """
    if output == STANDARD:
        if count > 1:
            raise typer.BadParameter("standard output takes one picture only", param_hint="--output")
        return
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        for path in numbered(output, min(count, _MOST_CHECKED)):
            _check_writable(path)
    except OSError as error:
        told = f"{error.filename or output} cannot be written: {error.strerror}"
        raise typer.BadParameter(told, param_hint="--output") from None
    except ValueError as error:  # of pathlib, for what has no name
        raise typer.BadParameter(f"{output} is no file name: {error}", param_hint="--output") from None


def numbered(output: Path, count: int) -> list[Path]:
    """Return where `count` pictures go: picture 2 becomes NAME-2."""
    return [output if n == 1 else output.with_stem(f"{output.stem}-{n}") for n in range(1, count + 1)]


def write(path: Path, data: bytes) -> Path:
    """Write a file and return its path.

    Raises:
        typer.Exit: it could not be written, which was told.
    """
    try:
        if path == STANDARD:
            stream = typer.get_binary_stream("stdout")
            stream.write(data)
            stream.flush()
        else:
            path.write_bytes(data)
    except BrokenPipeError:
        raise  # the reader has had enough
    except OSError as error:
        render.complain(f"{'standard output' if path == STANDARD else path} cannot be written: {error.strerror}")
        raise typer.Exit(code=1) from None
    return path


def read(path: Path | None, option: str) -> bytes | None:
    """Return what is in a file, if there is one.

    Raises:
        typer.BadParameter: it cannot be read.
    """
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be read: {error.strerror}", param_hint=option) from None


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file.

    Raises:
        typer.BadParameter: it cannot be read, or is none.
    """
    data = typer.get_binary_stream("stdin").read() if path == STANDARD else read(path, "--file") or b""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = "standard input" if path == STANDARD else path
        raise typer.BadParameter(f"{where} is no UTF-8 text: {error.reason} at byte {error.start}") from None


def console(output: Path) -> Console:
    """Return where to tell what was made: not into the file."""
    return render.ERR if output == STANDARD else render.OUT


def suffix_format(path: Path) -> str:
    """Return the format that a file's suffix stands for."""
    names = {"jpg": "jpeg", "opus": "ogg_opus", "ogg": "ogg_opus"}
    suffix = path.suffix.removeprefix(".").lower()
    return names.get(suffix, suffix)


def _check_writable(path: Path) -> None:
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            raise _failed(errno.EISDIR, path)
        target = path
    except FileNotFoundError:
        target = path.parent
    if not os.access(target, os.W_OK):
        raise _failed(errno.EACCES, target)


def _failed(number: int, path: Path) -> OSError:
    return OSError(number, os.strerror(number), str(path))
