"""The `atelier` command."""

import sys


def main() -> None:
    """Run the command line, or say what it needs."""
    try:
        from atelier_client.cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in {"typer", "rich"}:
            raise
        sys.exit(f"the atelier command needs {error.name}: pip install 'atelier-studio[cli]'")
    app()
