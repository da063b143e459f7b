"""The `atelier` command."""

import io
import os
import sys


def main() -> None:
    """Run the command line, or say what it needs."""
    _escape_what_the_terminal_lacks()
    try:
        from atelier_client.cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in {"typer", "rich"}:
            raise
        sys.exit(f"the atelier command needs {error.name}: pip install 'atelier-studio[cli]'")
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except OSError as error:  # files are the commands' own concern: what is left is standard output
        _give_up_on_output()
        sys.exit(1 if isinstance(error, BrokenPipeError) else f"error standard output: {error.strerror}")


def _escape_what_the_terminal_lacks() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _give_up_on_output() -> None:
    """Drop what is still in the buffer: the interpreter would try once more, and complain, when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
