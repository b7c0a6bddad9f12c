"""An object whose answer breaks off half-way is read again, over real sockets."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import IncompleteReadError, ResponseStreamingError

from infra.local.completion import client
from shared.adapters.s3 import Bucket
from shared.adapters.s3_uploads import UploadBucket
from tests.receivers import Receiver, answering, receiver

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n"
BROKEN, WHOLE = HEAD + b"01234", HEAD + b"0123456789"


def _s3(server: Receiver) -> Any:
    return client("s3", f"http://127.0.0.1:{server.port}")


def test_an_object_whose_body_breaks_off_is_read_again() -> None:
    with receiver(answering(BROKEN, BROKEN, WHOLE)) as server:
        assert Bucket(_s3(server), "b").get("k") == b"0123456789"
        assert len(server.requests) == 3


def test_a_range_whose_body_breaks_off_is_read_again() -> None:
    with receiver(answering(BROKEN, WHOLE)) as server:
        assert UploadBucket(_s3(server), "b").read("k", 5, 10) == b"0123456789"
        assert [b"Range: bytes=5-14" in request for request in server.requests] == [True, True]


def test_a_body_that_breaks_off_every_time_is_an_error_after_four_tries() -> None:
    with receiver(answering(BROKEN)) as server:
        with pytest.raises((IncompleteReadError, ResponseStreamingError)):
            Bucket(_s3(server), "b").get("k")
        assert len(server.requests) == 4
