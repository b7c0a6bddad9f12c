"""A line can be written whatever is in it."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator

import pytest

from shared import logs


@pytest.fixture
def handler() -> Iterator[logging.Handler]:
    """What writes a process's lines to standard output."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    logs.configure("test")
    yield root.handlers[0]
    root.handlers = before
    root.setLevel(level)


def test_half_a_character_in_message_field_or_traceback_breaks_no_line(handler: logging.Handler) -> None:
    record = logging.makeLogRecord({"msg": "got \ud800", "levelname": "ERROR", "file": "ü\udfff.mp3"})
    try:
        int("\ud800")
    except ValueError:
        record.exc_info = sys.exc_info()

    line = json.loads(handler.format(record).encode())
    assert (line["message"], line["file"]) == ("got ?", "ü?.mp3")
    assert line["exception_name"] == "ValueError"
