"""The language model's summary, against a real HTTP server that answers as such servers do, well and badly."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from gpu_jobs.audio import Recording
from gpu_jobs.engines import EngineSet, EngineSettings, build_engines, read_engine_settings
from gpu_jobs.pipeline import transcribe_recording
from gpu_jobs.rebuild import NO_SUMMARY
from gpu_jobs.summarize.llm import LlmSettings, LlmSummarizer, SummaryFailed, http_completer, read_answer
from shared.domain.options import TranscriptionOptions
from shared.domain.transcripts import Segment

GOOD = {"summary": "They talk about boats.", "topics": ["boats"], "speakers": {"SPEAKER_00": "Ada", "SPEAKER_09": "X"}}


class Server(ThreadingHTTPServer):
    """Answers each request with the next of ``answers``; the last for ever."""

    answers: list[Any]
    requests: list[dict[str, Any]]


class Handler(BaseHTTPRequestHandler):
    """The one endpoint."""

    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append({"path": self.path, "key": self.headers.get("Authorization"), **body})
        answers = self.server.answers
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        status = answer if isinstance(answer, int) else 200
        content = json.dumps({"choices": [{"message": {"content": answer}}]}).encode()
        self.send_response(status)
        self.end_headers()
        self.wfile.write(content if status == 200 else b"{}")

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.answers, server.requests = [json.dumps(GOOD)], []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def summarizer(server: Server, **limits: int) -> LlmSummarizer:
    url = f"http://127.0.0.1:{server.server_port}/v1/"
    return LlmSummarizer(http_completer(LlmSettings(url=url, model="org/tiny", key="k")), "org/tiny", **limits)


def talk(count: int = 2) -> list[Segment]:
    return [
        Segment(start_seconds=i, end_seconds=i + 1.0, text=f"Boats float, {i}.", speaker_id=f"SPEAKER_0{i % 2}")
        for i in range(count)
    ]


def test_one_call_with_a_schema_gives_summary_topics_and_the_names_of_those_who_spoke(server: Server) -> None:
    notes = summarizer(server).summarize(talk(), "en")

    assert notes is not None
    assert (notes.summary.text, notes.summary.topics) == ("They talk about boats.", ("boats",))
    assert notes.labels == {"SPEAKER_00": "Ada"}
    (request,) = server.requests
    assert request["path"] == "/v1/chat/completions"
    assert request["key"] == "Bearer k"
    assert request["response_format"]["json_schema"]["strict"] is True
    assert "SPEAKER_01: Boats float, 1." in request["messages"][1]["content"]


def test_a_long_talk_is_summed_up_in_parts_that_fit_and_then_as_a_whole(server: Server) -> None:
    notes = summarizer(server, max_part_bytes=400).summarize(talk(60), "en")

    assert notes is not None
    assert notes.labels == {"SPEAKER_00": "Ada"}
    assert len(server.requests) > 4
    assert all(len(request["messages"][1]["content"].encode()) <= 400 for request in server.requests)
    assert server.requests[-1]["messages"][1]["content"].startswith("They talk about boats.")


def test_a_long_talk_in_another_script_fits_into_the_models_context_too(server: Server) -> None:
    lines = [replace(segment, text="船在水上漂。" * 40, speaker_id=None) for segment in talk(60)]

    assert summarizer(server).summarize(lines, "zh") is not None

    # Qwen's tokenizer takes 1.5 letters of Chinese for a token or more, and the answer needs room in 8,192.
    assert len(server.requests) >= 3
    assert all(len(request["messages"][1]["content"]) <= 8_000 for request in server.requests)
    sent = "".join(request["messages"][1]["content"] for request in server.requests)
    assert sent.count("船") == 60 * 40


def test_no_part_of_a_talk_is_left_out_though_every_summary_is_as_long_as_may_be(server: Server) -> None:
    lines = [replace(segment, text=mark + "船" * 7_900) for segment, mark in zip(talk(5), "甲乙丙丁戊", strict=True)]
    server.answers = [json.dumps({**GOOD, "summary": mark + "话" * 4_000}) for mark in "甲乙丙丁戊己庚辛壬"]

    assert summarizer(server).summarize(lines, "zh") is not None

    sent = [request["messages"][1]["content"] for request in server.requests]
    assert all(len(content.encode()) <= 24_000 for content in sent)
    rounds = ["".join(letter for letter in content if letter in "甲乙丙丁戊己庚辛壬") for content in sent[5:]]
    assert rounds == ["甲乙", "丙丁", "戊", "己庚", "辛", "壬壬"]


@pytest.mark.parametrize("bad", ["no JSON at all", '{"summary": 3}', "", '{"summary": ', "[" * 5_000, 500, None])
def test_nonsense_is_asked_for_again_and_then_given_up(server: Server, bad: Any) -> None:
    server.answers = [bad, json.dumps(GOOD)]
    assert summarizer(server).summarize(talk(), "en") is not None

    server.answers = [bad]
    with pytest.raises(SummaryFailed):
        summarizer(server).summarize(talk(), "en")


def test_json_is_found_inside_chatter_and_cleaned() -> None:
    text = 'Sure! ```json\n{"summary": " A\\u0000b\\n c ", "topics": ["x", 3, ""], "speakers": ["?"]}\n``` Bye'

    assert read_answer(text) == {"summary": "Ab c", "topics": ["x"], "speakers": {}}


def test_letters_that_are_joined_or_kept_apart_by_what_cannot_be_seen_stay_so() -> None:
    persian, family = "می\u200cخواهند", "\U0001f468\u200d\U0001f469\u200d\U0001f467"  # noqa: RUF001 - Persian

    answer = read_answer(
        json.dumps({"summary": f"{persian} {family}", "topics": [persian], "speakers": {"A": persian}})
    )

    assert answer == {"summary": f"{persian} {family}", "topics": [persian], "speakers": {"A": persian}}


@pytest.mark.parametrize("text", ["\u200b", "\x07", "…", "### ```"])
def test_a_summary_that_says_nothing_is_none(text: str) -> None:
    with pytest.raises(SummaryFailed):
        read_answer(json.dumps(GOOD | {"summary": text}))

    answer = read_answer(json.dumps(GOOD | {"topics": [text, "boats"], "speakers": {"A": text}}))
    assert (answer["topics"], answer["speakers"]) == (["boats"], {})


def test_a_failed_summary_never_costs_the_transcript(server: Server) -> None:
    server.answers = [500]
    engines = build_engines(EngineSettings())
    broken = EngineSet(
        transcriber=engines.transcriber,
        diarizer=engines.diarizer,
        aligner=engines.aligner,
        summarizer=Failing(),
    )
    silence = Recording(samples=np.zeros(16_000, np.float32))

    transcript = transcribe_recording(silence, TranscriptionOptions(summary=True), broken, lambda *_: None)

    assert transcript.summary is None
    assert NO_SUMMARY in transcript.warnings


class Failing:
    """Never sums up."""

    weight = 0.1
    engine = "llm:none"

    def summarize(self, segments: object, language: str) -> None:
        raise SummaryFailed("never")


def test_the_setting_chooses_the_language_model_and_half_a_setting_is_refused() -> None:
    engines = build_engines(read_engine_settings({"LLM_URL": "http://127.0.0.1:1/v1", "LLM_MODEL": "org/tiny"}))

    assert engines.summarizer.engine == "llm:tiny"
    with pytest.raises(ValueError, match="LLM_MODEL"):
        read_engine_settings({"LLM_URL": "http://127.0.0.1:1/v1"})
    with pytest.raises(ValueError, match="LLM_URL"):
        read_engine_settings({"LLM_URL": "file:///etc/passwd", "LLM_MODEL": "x"})
