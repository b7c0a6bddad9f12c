"""Tracing is on by a setting, sends AWS calls to X-Ray's daemon, and never what a function answers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import Any

from tests.infra.repository import ROOT

PROGRAM = """
import sys
import boto3
from moto import mock_aws
from functions.tracing import traced

class Context:
    function_name = invoked_function_arn = aws_request_id = "f"

@traced
def handler(event, context):
    boto3.client("dynamodb").list_tables()
    return {"words": "a transcript"}

with mock_aws():
    print(handler({}, Context()))
print("aws_xray_sdk.core" in sys.modules and "aws_xray_sdk.ext.botocore.patch" in sys.modules)
"""


def run(tracing: str) -> tuple[str, list[dict[str, Any]]]:
    """What the program printed, and the segments that reached the daemon's address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        daemon.settimeout(0.2)
        environment = {name: os.environ[name] for name in ("PATH", "LANG", "HOME") if name in os.environ} | {
            "PYTHONPATH": str(ROOT),
            "TRACING": tracing,
            "LAMBDA_TASK_ROOT": "/var/task",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_XRAY_DAEMON_ADDRESS": f"127.0.0.1:{daemon.getsockname()[1]}",
            "_X_AMZN_TRACE_ID": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        segments = []
        try:
            while True:
                segments.append(json.loads(daemon.recv(65_536).partition(b"\n")[2]))
        except TimeoutError:
            return done.stdout, segments


def names(segment: dict[str, Any]) -> list[str]:
    """The segment's name and those of all below it."""
    return [segment["name"], *(name for each in segment.get("subsegments", []) for name in names(each))]


def test_with_tracing_on_a_functions_aws_calls_are_segments_and_its_answer_is_not_in_them() -> None:
    printed, segments = run("on")
    assert "a transcript" in printed
    assert "## handler" in [name for each in segments for name in names(each)]
    assert "dynamodb" in [name for each in segments for name in names(each)]
    assert "a transcript" not in json.dumps(segments)


def test_with_tracing_off_nothing_is_sent_and_nothing_imported() -> None:
    printed, segments = run("off")
    assert printed.splitlines()[-1] == "False"
    assert segments == []
