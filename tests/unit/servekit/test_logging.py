import json
import logging
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from servekit.context import RequestContext, activate
from servekit.logging import ConsoleFormatter, JsonFormatter, configure


def _record(message: str, *args: object, exc_info: Any = None, **extra: object) -> logging.LogRecord:
    return logging.getLogger("toy").makeRecord("toy", logging.INFO, "f", 1, message, args, exc_info, extra=extra)


def _failure() -> Any:
    try:
        raise ValueError("boom")
    except ValueError:
        return sys.exc_info()


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


def test_json_has_the_record_and_its_extras() -> None:
    line = json.loads(JsonFormatter().format(_record("loaded %s", "flux", seconds=1.5)))
    assert datetime.fromisoformat(line.pop("timestamp")).tzinfo is not None
    assert line == {"level": "INFO", "logger": "toy", "message": "loaded flux", "seconds": 1.5}


def test_json_is_one_line_even_with_a_traceback() -> None:
    text = JsonFormatter().format(_record("failed", exc_info=_failure()))
    assert "\n" not in text
    assert "ValueError: boom" in json.loads(text)["exception"]


def test_json_writes_what_json_does_not_know_as_text() -> None:
    assert json.loads(JsonFormatter().format(_record("x", kind=ValueError)))["kind"] == "<class 'ValueError'>"


async def test_json_carries_the_request_id() -> None:
    activate(RequestContext(request_id="id-1", caller="", method="/a.B/C", deadline=None))
    assert json.loads(JsonFormatter().format(_record("x")))["request_id"] == "id-1"


def test_console_shows_extras_before_the_traceback() -> None:
    first, *rest = ConsoleFormatter().format(_record("failed", exc_info=_failure(), model="flux")).splitlines()
    assert first.endswith("INFO    toy: failed model=flux")
    assert rest[-1] == "ValueError: boom"


def test_configure_replaces_what_was_there(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    configure("INFO", "console")
    configure("INFO", "json")
    logging.getLogger("toy").debug("unheard")
    logging.getLogger("toy").info("heard")
    assert [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()] == ["heard"]
