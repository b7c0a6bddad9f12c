"""Files put into the drop folder of a local stack come back with their transcripts beside them."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

from infra.local.launch import LocalStack
from tests.recordings import asset


def _wait_for(*paths: Path) -> None:
    deadline = time.monotonic() + 150
    while not all(path.exists() for path in paths):
        assert time.monotonic() < deadline, [path.name for path in paths if not path.exists()]
        time.sleep(0.2)


def test_a_recording_and_its_options_become_results_beside_them(tmp_path: Path) -> None:
    folder = tmp_path / "drop"
    (folder / "books").mkdir(parents=True)
    with LocalStack("--drop", str(folder)) as stack:
        shutil.copy(asset("two_cities.wav"), folder / "books" / "two cities.wav")
        (folder / "books" / "two cities.wav.options.json").write_text('{"language": "en"}')
        (folder / "letter.mp3").write_text("no recording at all")
        name = folder / "books" / "two cities.wav"
        _wait_for(*(name.with_name(name.name + ending) for ending in (".json", ".srt", ".vtt", ".txt")))
        _wait_for(folder / "letter.mp3.error.json")
        tags = stack.client("s3").get_object_tagging(
            Bucket=stack.ready["bucket"], Key=f"drop/{stack.ready['account_id']}/books/two cities.wav"
        )["TagSet"]

    result = json.loads(name.with_name(name.name + ".json").read_text())
    assert "best of times" in result["transcript"].lower()
    assert {tag["Key"]: tag["Value"] for tag in tags} == {
        "audiototext-state": "completed",
        "audiototext-job": result["id"],
    }
    assert json.loads((folder / "letter.mp3.error.json").read_text())["error"] == "invalid_request"
