"""Who did what, without what was said: one JSON line per call that was refused or privileged."""

import logging
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Literal

from servekit.access.domain import Role
from servekit.access.roles import required_role
from servekit.context import current
from servekit.errors import ServingError
from servekit.logging import JsonFormatter


class AuditLog:
    """Writes to `file`, which may be rotated away under it, or into the ordinary log without one."""

    def __init__(self, scope: Literal["privileged", "all"], file: Path | None) -> None:
        self._everything = scope == "all"
        self._logger = logging.getLogger("servekit.audit") if file is None else _writer(file)
        self._logger.setLevel(logging.INFO)  # whatever the level of the ordinary log

    def record(self, code: str, failure: BaseException | None, peer: str, *, refused: bool) -> None:
        """Write a line about the call that ends, if it is one of those to be written about."""
        call = current()
        role = required_role(call.method)
        if not (refused or self._everything or role is not Role.USER):
            return
        facts = {
            "caller": call.caller,
            "via": call.via,
            "credential": call.credential,
            "method": call.method,
            "role": role.value,
            "outcome": "refused" if refused else "done" if failure is None else "failed",
            "code": code,
            "peer": peer,
        }
        if isinstance(failure, ServingError):
            facts |= {"reason": failure.reason, "cause": failure.metadata().get("cause", "")}
        self._logger.info("access", extra=facts)

    def close(self) -> None:
        """Close the file; a later record opens it again."""
        for handler in self._logger.handlers:
            handler.close()


def _writer(file: Path) -> logging.Logger:
    """Return a logger of its own that appends to `file`; raises `OSError` if that cannot be written."""
    file.open("a").close()
    logger = logging.Logger("servekit.audit")
    handler = WatchedFileHandler(file, encoding="utf-8", delay=True)
    handler.setFormatter(JsonFormatter())
    logger.addHandler(handler)
    return logger
