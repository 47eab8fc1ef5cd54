from __future__ import annotations

import io
import logging

from structlog.contextvars import bound_contextvars

from service import logs
from service.logs import LogFormat

from .conftest import Log


def test_every_line_carries_what_its_request_has_bound(log: Log) -> None:
    with bound_contextvars(request_id="of-this-request"):
        logging.getLogger("a.library").warning("read %d bytes", 5)
        assert logs.request_id() == "of-this-request"
    assert logs.request_id() is None

    (line,) = log.lines()
    assert (line["message"], line["level"], line["logger"]) == ("read 5 bytes", "warning", "a.library")
    assert line["request_id"] == "of-this-request"


def test_tracebacks_stay_within_their_line(log: Log) -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("somebody").exception("it failed")

    (line,) = log.lines()
    assert "ValueError: broken" in line["exception"]


def test_a_file_gets_json_and_the_console_format_is_for_people(log: Log) -> None:
    expectations: list[tuple[LogFormat | None, str]] = [(None, '"message"'), ("console", "hello")]
    for log_format, expected in expectations:
        stream = io.StringIO()
        logs.configure(log_format, "info", stream)
        logging.getLogger("x").info("hello", extra={"bpp": 0.15})
        assert expected in stream.getvalue()
        assert ("bpp=0.15" in stream.getvalue()) == (log_format == "console")
