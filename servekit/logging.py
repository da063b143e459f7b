"""Log records as JSON lines for machines, or as text for people. Both carry the request id of the call at hand."""

import json
import logging
import sys
import time
from typing import Any, Literal

from google.protobuf import text_format
from google.protobuf.message import Message

from servekit import context

MAX_CONTENT = 2000
"""Characters of a message that are logged where a setting asks for content."""

_rpc_logger = logging.getLogger("servekit.rpc")

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(level: str, form: Literal["json", "console"]) -> None:
    """Send every record of `level` and above to standard error, in the given form, and nowhere else."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else ConsoleFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("grpc").setLevel(logging.INFO)  # its debug lines tell of every call, several times


def _extras(record: logging.LogRecord) -> dict[str, object]:
    """Return what the caller passed as `extra`, and the ids of request and trace."""
    extras = {key: value for key, value in vars(record).items() if key not in _STANDARD}
    request = context.find()
    if request is None:
        return extras
    trace_id = request.trace.trace_id if request.trace is not None else ""
    return {"request_id": request.request_id, **({"trace_id": trace_id} if trace_id else {}), **extras}


class JsonFormatter(logging.Formatter):
    """One JSON object per record: timestamp (UTC), level, logger, message, extras, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "timestamp": f"{whole}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_extras(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class ConsoleFormatter(logging.Formatter):
    """Time, level, message, extras as `key=value`, and a traceback below if there is one."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base class names it
        """Return the line above the traceback."""
        extras = "".join(f" {key}={value}" for key, value in _extras(record).items())
        return super().formatMessage(record) + extras


def log_content(message: Any) -> None:
    """Write a received message into the log; relayed bytes are left to the server that reads them."""
    if isinstance(message, Message):
        content = text_format.MessageToString(message, as_one_line=True, as_utf8=True)
        _rpc_logger.info("received", extra={"content": content[:MAX_CONTENT]})
