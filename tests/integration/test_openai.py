"""OpenAI's own client, unmodified, against our API on a real socket; a worker answers from a thread."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import openai
import pytest
import uvicorn

from functions.api.app import create_app
from functions.api.routes import openai as route
from shared.adapters.dynamodb.jobs import JobQuery
from shared.adapters.dynamodb.requests import RequestStore
from shared.bootstrap import Services
from shared.domain.accounts import Scope
from shared.domain.errors import JobFailure, RequestInProgress
from shared.domain.idempotency import Claim, Replay
from shared.domain.transcripts import Engines, Segment, Transcript, Word
from tests.integration.conftest import Cloud, Customer
from tests.media import wav
from tests.pipelines import Asked, StandIn, work_on

SECONDS = 3.0


class Pipeline(StandIn):
    """Hears two words, or fails on recordings it does not like."""

    def hear(self, asked: Asked) -> Transcript:
        """Two words."""
        if asked.path.stat().st_size < 10_000:
            raise JobFailure("audio_unreadable", "The file could not be read.")
        asked.on_measured(SECONDS)
        words = (
            Word(text="Hello", start_seconds=0.0, end_seconds=0.5),
            Word(text="there.", start_seconds=0.5, end_seconds=1.0),
        )
        segment = Segment(
            start_seconds=0.0,
            end_seconds=1.0,
            text="Hello there.",
            words=words if asked.options.word_timestamps else (),
        )
        return Transcript(
            duration_seconds=SECONDS, language="en", engines=Engines(transcriber="t"), segments=(segment,)
        )


@pytest.fixture(scope="module")
def base_url(services: Services) -> Iterator[str]:
    """The API under uvicorn."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(create_app(lambda: services), host="127.0.0.1", port=port, log_config=None, lifespan="off")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}/v1"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def worker(cloud: Cloud) -> Iterator[None]:
    """A worker and a dispatcher, in a thread."""
    mine = cloud.services()
    stop = threading.Event()

    def work() -> None:
        queue: Any = mine.jobs._ports.queue
        while not stop.is_set():
            message = queue.receive(0)
            if message is None:
                stop.wait(0.02)
                continue
            work_on(mine, json.loads(message.body)["job_id"], Pipeline())
            queue.delete(message.receipt)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.fixture
def client(base_url: str, funded: Customer) -> Iterator[openai.OpenAI]:
    """OpenAI's client with its own defaults, retries included."""
    with openai.OpenAI(api_key=funded.api_key, base_url=base_url) as made:
        yield made


def _file(seconds: float = SECONDS) -> tuple[str, bytes]:
    return "talk.wav", wav(seconds)


def _job_id(client: openai.OpenAI, **arguments: Any) -> str:
    """The job that answered."""
    return str(client.audio.transcriptions.with_raw_response.create(**arguments).headers["X-Job-Id"])


@pytest.mark.usefixtures("worker")
def test_each_response_format_is_what_the_client_expects(client: openai.OpenAI) -> None:
    create = client.audio.transcriptions.create

    assert create(model="whisper-1", file=_file()).text == "Hello there."
    assert create(model="whisper-1", file=_file(), response_format="text") == "Hello there.\n"
    srt = create(model="whisper-turbo", file=_file(), response_format="srt")
    assert "00:00:00,000 -->" in srt
    assert "Hello there." in srt
    assert create(model="whisper-large-v3", file=_file(), response_format="vtt").startswith("WEBVTT")


@pytest.mark.usefixtures("worker")
def test_verbose_json_has_segments_and_words_as_asked(client: openai.OpenAI) -> None:
    create = client.audio.transcriptions.create

    plain = create(model="whisper-1", file=_file(), response_format="verbose_json")
    words = create(
        model="whisper-1",
        file=_file(),
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
        language="en",
    )

    assert (plain.language, float(plain.duration), plain.words) == ("english", SECONDS, None)
    assert plain.segments is not None
    assert [(segment.start, segment.end, segment.text) for segment in plain.segments] == [(0.0, 1.0, "Hello there.")]
    assert words.words is not None
    assert [(word.word, word.start, word.end) for word in words.words] == [("Hello", 0.0, 0.5), ("there.", 0.5, 1.0)]
    assert words.segments is not None


@pytest.mark.parametrize(
    ("prompt", "spelled"),
    [
        ("ZyntriQix, Digique Plus,  CynapseFive.", ("ZyntriQix", "Digique Plus", "CynapseFive")),
        ("Ada", ("Ada",)),
        ("", ()),
        ("Umm, let me think like, hmm... Okay, here's what I'm, like, thinking about it all.", ()),
        ("The meeting of Monday. Ada, Bob", ()),
        ("x" * 101, ()),
        ("a\x01b", ()),
    ],
)
def test_a_prompt_that_lists_names_spells_them_and_other_prose_is_ignored(
    prompt: str, spelled: tuple[str, ...], client: openai.OpenAI, funded: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route, "HOST_WAIT_SECONDS", -1.0)

    with pytest.raises(openai.InternalServerError) as caught:
        client.audio.transcriptions.create(model="whisper-1", file=_file(3.4), prompt=prompt, temperature=0.2)

    job_id = str(caught.value).partition("/api/v1/transcribe/")[2].partition("/")[0]
    assert funded.services.jobs.get(job_id, funded.account_id).options.vocabulary == spelled


def test_our_own_options_go_in_the_extra_body(
    client: openai.OpenAI, funded: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route, "HOST_WAIT_SECONDS", -1.0)
    ours = {"diarization": True, "num_speakers": 3, "vocabulary": ["Ada", "Bob"], "max_credits": 5, "retention_days": 2}
    ours |= {"dry_run": False, "webhook_url": "", "timestamps": True}  # as they are here anyway

    with pytest.raises(openai.InternalServerError) as caught:
        client.audio.transcriptions.create(model="whisper-1", file=_file(3.5), prompt="Eve", extra_body=ours)

    job_id = str(caught.value).partition("/api/v1/transcribe/")[2].partition("/")[0]
    job = funded.services.jobs.get(job_id, funded.account_id)
    assert (job.options.diarization, job.options.num_speakers) == (True, 3)
    assert job.options.vocabulary == ("Ada", "Bob")
    assert (job.caps.max_millicredits, job.kept_days) == (5_000, 2)


@pytest.mark.usefixtures("worker")
def test_reuse_gives_an_earlier_result_for_nothing(client: openai.OpenAI, funded: Customer) -> None:
    first = _job_id(client, model="whisper-1", file=_file(4.2))
    paid = funded.balance()

    again = client.audio.transcriptions.with_raw_response.create(
        model="whisper-1", file=("copy.wav", wav(4.2)), extra_body={"reuse": True}
    )

    assert again.parse().text == "Hello there."
    assert again.headers["X-Job-Id"] != first
    assert funded.balance() == paid


@pytest.mark.usefixtures("worker")
def test_what_is_ignored_is_named_in_a_header_and_nothing_else_is(client: openai.OpenAI) -> None:
    create = client.audio.transcriptions.with_raw_response.create

    plain = create(model="whisper-1", file=_file(), prompt="Ada", response_format="verbose_json", stream=False)
    told = create(
        model="whisper-1",
        file=_file(),
        response_format="text",
        temperature=0.2,
        chunking_strategy={"type": "server_vad", "threshold": 0.5},
        known_speaker_names=["Ada"],
        extra_body={"diarisation": True, "ё" * 50: 1},
    )

    assert "X-Warnings" not in plain.headers
    assert told.parse() == "Hello there.\n"
    assert set(json.loads(told.headers["X-Warnings"])) == {
        "'temperature' has no effect here.",
        "'chunking_strategy' has no effect here.",
        "'known_speaker_names' has no effect here.",
        "The unknown field 'diarisation' was ignored. Did you mean 'diarization'?",
        f"The unknown field '{'ё' * 40}…' was ignored.",
    }


@pytest.mark.usefixtures("worker")
def test_so_many_warnings_that_a_header_cannot_hold_them_are_counted(client: openai.OpenAI) -> None:
    many = {f"{number}{'😀' * 60}": 1 for number in range(200)}

    answer = client.audio.transcriptions.with_raw_response.create(model="whisper-1", file=_file(), extra_body=many)

    assert json.loads(answer.headers["X-Warnings"])[-1] == "192 more fields were ignored."
    assert len(answer.headers["X-Warnings"]) < 6_000


@pytest.mark.usefixtures("worker")
def test_a_request_sent_again_joins_the_first_and_is_charged_once(client: openai.OpenAI, funded: Customer) -> None:
    for _ in range(2):
        client.audio.transcriptions.create(model="whisper-1", file=_file(3.1))

    assert funded.services.credits.verify(funded.account_id).entries == 3  # the grant, one hold, one settlement


def test_when_the_hosts_time_is_up_the_job_is_named_and_not_made_again(
    client: openai.OpenAI, funded: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route, "HOST_WAIT_SECONDS", -1.0)

    with pytest.raises(openai.InternalServerError) as caught:
        client.audio.transcriptions.create(model="whisper-1", file=_file(3.2))

    assert caught.value.status_code == 504
    assert "/api/v1/transcribe/" in str(caught.value)
    assert funded.services.credits.verify(funded.account_id).entries == 2  # the grant and one hold: no retry


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    "changes",
    [
        {"file": ("tuesday.wav", wav(3.6))},
        {"file": ("talk.wav", wav(3.6), "audio/vnd.wave")},
        {"extra_body": {"max_credits": 5}},
    ],
)
def test_a_request_that_differs_in_anything_is_one_of_its_own(changes: dict[str, Any], client: openai.OpenAI) -> None:
    arguments: dict[str, Any] = {"model": "whisper-1", "file": _file(3.6)}

    assert _job_id(client, **arguments) != _job_id(client, **(arguments | changes))


@pytest.mark.usefixtures("worker")
def test_the_most_it_may_cost_holds_for_audio_that_was_transcribed_before(client: openai.OpenAI) -> None:
    _job_id(client, model="whisper-1", file=_file(3.7))

    with pytest.raises(openai.BadRequestError) as caught:
        _job_id(client, model="whisper-1", file=_file(3.7), extra_body={"max_credits": 0.001})

    assert caught.value.param == "max_credits"


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "mine"}])
def test_what_was_deleted_is_transcribed_again_each_time(
    key: dict[str, str], client: openai.OpenAI, funded: Customer
) -> None:
    seen = set()
    for _ in range(3):
        job_id = _job_id(client, model="whisper-1", file=_file(3.8), extra_headers=key)
        seen.add(job_id)
        funded.services.transcriptions.delete(funded.services.jobs.get(job_id, funded.account_id))

    assert len(seen) == 3


@pytest.mark.usefixtures("worker")
def test_what_failed_is_tried_again_each_time_says_why_and_costs_nothing(
    client: openai.OpenAI, funded: Customer
) -> None:
    for _ in range(3):
        with pytest.raises(openai.UnprocessableEntityError) as caught:
            client.audio.transcriptions.create(model="whisper-1", file=_file(0.3))
        assert "could not be read" in str(caught.value)

    assert funded.balance().available_millicredits == 1_000_000
    assert len(funded.services.transcriptions.page(JobQuery(account_id=funded.account_id), 10).jobs) == 3


@pytest.mark.usefixtures("worker")
def test_the_same_request_sent_at_the_same_moment_joins_too(
    client: openai.OpenAI, funded: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, early = RequestStore.claim, threading.Event()
    with ThreadPoolExecutor(1) as pool:

        def send() -> str:
            return _job_id(client, model="whisper-1", file=_file(4.1))

        def claim_slowly(store: RequestStore, asked: Claim) -> Replay | None:
            """The first claims and waits until a second was told that it comes too early."""
            monkeypatch.setattr(RequestStore, "claim", claim_in_vain)
            outcome = claim(store, asked)
            seconds.append(pool.submit(send))
            assert early.wait(10)
            return outcome

        def claim_in_vain(store: RequestStore, asked: Claim) -> Replay | None:
            try:
                return claim(store, asked)
            except RequestInProgress:
                early.set()
                raise

        seconds: list[Future[str]] = []
        monkeypatch.setattr(RequestStore, "claim", claim_slowly)
        assert send() == seconds[0].result(10)

    assert funded.services.credits.verify(funded.account_id).entries == 3  # the grant, one hold, one settlement


def test_who_gave_up_waiting_joins_the_job_that_goes_on(
    client: openai.OpenAI, funded: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route, "HOST_WAIT_SECONDS", -1.0)
    named = set()
    for _ in range(2):
        with pytest.raises(openai.InternalServerError) as caught:
            client.audio.transcriptions.create(model="whisper-1", file=_file(3.9))
        named.add(str(caught.value))

    assert len(named) == 1
    assert funded.services.credits.verify(funded.account_id).entries == 2  # the grant and one hold


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"model": "gpt-4o-transcribe"}, "model"),
        ({"response_format": "xml"}, "response_format"),
        ({"timestamp_granularities": ["page"]}, "timestamp_granularities[]"),
        ({"language": "klingon"}, "language"),
        ({"stream": True}, "stream"),
        ({"extra_body": {"dry_run": True}}, "dry_run"),
        ({"extra_body": {"webhook_url": "https://example.com/done"}}, "webhook_url"),
        ({"extra_body": {"word_timestamps": True}}, "word_timestamps"),
        ({"extra_body": {"timestamps": False}}, "timestamps"),
        ({"extra_body": {"num_speakers": 0}}, "num_speakers"),
        ({"extra_query": {"dry_run": "true"}}, "dry_run"),
        ({"file": ("a.mp3", b"PK\x03\x04" + bytes(99))}, "file"),
        ({"file": ("a.mp3", b"")}, "file"),
    ],
)
def test_what_is_wrong_comes_in_the_shape_the_client_reads(
    changes: dict[str, Any], param: str, client: openai.OpenAI, funded: Customer
) -> None:
    arguments: dict[str, Any] = {"model": "whisper-1", "file": _file()} | changes
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.transcriptions.create(**arguments)

    assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")
    assert funded.services.credits.verify(funded.account_id).entries == 1  # the grant


@pytest.mark.parametrize(
    ("option", "instead"),
    [
        ({"dry_run": True}, "POST /api/v1/transcribe/"),
        ({"webhook_url": "https://example.com/done"}, "POST /api/v1/transcribe/"),
        ({"word_timestamps": True}, "timestamp_granularities"),
    ],
)
def test_an_option_that_this_address_cannot_keep_is_refused_with_what_to_use(
    option: dict[str, Any], instead: str, client: openai.OpenAI
) -> None:
    with pytest.raises(openai.BadRequestError, match=instead):
        client.audio.transcriptions.create(model="whisper-1", file=_file(), extra_body=option)


@pytest.mark.usefixtures("worker")
def test_parameters_that_other_clients_put_into_the_address_do_no_harm(client: openai.OpenAI) -> None:
    client.audio.transcriptions.create(model="whisper-1", file=_file(), extra_query={"api-version": "2024-10-21"})


def _refused(base_url: str, api_key: str) -> openai.APIStatusError:
    """What the client raises for a short recording, without trying again."""
    with openai.OpenAI(api_key=api_key, base_url=base_url, max_retries=0) as made:
        try:
            made.audio.transcriptions.create(model="whisper-1", file=_file())
        except openai.APIStatusError as error:
            return error
    raise AssertionError("it was not refused")


def test_each_refusal_is_the_clients_own_exception(
    client: openai.OpenAI, base_url: str, services: Services, funded: Customer
) -> None:
    _, poor_key = services.keys.create(services.accounts.create("Poor").account_id, "test")
    poor = _refused(base_url, poor_key)
    assert (poor.status_code, poor.code) == (402, "insufficient_credits")
    assert isinstance(_refused(base_url, funded.make_key(frozenset({Scope.READ}))), openai.PermissionDeniedError)
    with pytest.raises(openai.NotFoundError):
        client.models.list()


@pytest.mark.usefixtures("worker")
def test_too_many_requests_are_the_clients_rate_limit(
    client: openai.OpenAI, base_url: str, services: Services, funded: Customer
) -> None:
    services.accounts.set_submit_rate(funded.account_id, 1)
    client.audio.transcriptions.create(model="whisper-1", file=_file(4))

    refused = _refused(base_url, funded.api_key)

    assert isinstance(refused, openai.RateLimitError)
    assert int(refused.response.headers["retry-after"]) > 0


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # the client says so of a method it has
def test_a_wrong_key_and_translations_are_refused(client: openai.OpenAI, base_url: str) -> None:
    with pytest.raises(openai.AuthenticationError), openai.OpenAI(api_key="sk-x", base_url=base_url) as stranger:
        stranger.audio.transcriptions.create(model="whisper-1", file=_file())
    with pytest.raises(openai.BadRequestError, match="not supported"):
        client.audio.translations.create(model="whisper-1", file=_file())
