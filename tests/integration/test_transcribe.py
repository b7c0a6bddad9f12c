"""The contract's endpoints over the real services: every field, every refusal, nothing charged for a refusal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import boto3
import pytest
from fastapi.testclient import TestClient

from shared.adapters.sqs import Queue
from shared.domain.accounts import Scope
from shared.domain.errors import JobFailure
from shared.domain.ids import AttemptId, JobId
from shared.domain.jobs import Job, Run
from shared.domain.options import Model, TranscriptionOptions
from shared.domain.transcripts import Engines, Segment, Speaker, Summary, Transcript, Word
from shared.services.jobs import Jobs
from tests import media, media_files
from tests.integration.conftest import Customer

URL = "/api/v1/transcribe/"
WAV = media.wav(90)

Response = Any  # httpx2's, which has no types of its own


def submit(
    api: TestClient,
    customer: Customer,
    data: Mapping[str, Any] | None = None,
    *,
    body: bytes = WAV,
    name: str = "a.wav",
) -> Response:
    return api.post(URL, headers=customer.headers, files={"file": (name, body, "audio/wav")}, data=data)


def job_of(customer: Customer, response: Response) -> Job:
    assert response.status_code == 202, response.text
    return customer.services.jobs.get(response.json()["id"], customer.account_id)


def refusal(response: Response, status: int, code: str, field: str | None = None) -> str:
    """The message of an error, after its shape has been checked."""
    assert response.status_code == status, response.text
    body = response.json()
    assert body.keys() == {"error", "message", "request_id"} | ({"field"} if field else set())
    assert body["error"] == code
    assert body["request_id"] == response.headers["x-request-id"]
    assert body.get("field") == field
    return str(body["message"])


def untouched(customer: Customer) -> bool:
    """True when the refused request cost nothing and left nothing."""
    objects = customer.services.bucket._client.list_objects_v2(
        Bucket=customer.services.bucket.name, Prefix=f"audio/{customer.account_id}/"
    )
    balance = customer.balance()
    return not balance.held_millicredits and balance.sequence <= 1 and not objects["KeyCount"]


# ---- POST: what is taken --------------------------------------------------------------------------------------------


def test_a_recording_is_taken_and_its_credits_are_set_aside(
    api: TestClient, funded: Customer, jobs_queue: Queue
) -> None:
    response = submit(api, funded, {"diarization": "true", "language": "en"})
    job = job_of(funded, response)
    # 90 s at 1.0 + 0.2 a minute
    assert response.json() == {"id": job.job_id, "status": "processing", "estimated_credits": 1.8}
    assert response.headers["location"] == f"{URL}{job.job_id}/"
    assert int(response.headers["retry-after"]) > 0
    assert (funded.balance().available_millicredits, funded.balance().held_millicredits) == (998_200, 1_800)
    assert funded.services.bucket.get(job.recording.key) == WAV
    message = jobs_queue.receive(0)
    assert message is not None
    assert json.loads(message.body) == {"job_id": job.job_id}


def test_every_option_of_the_contract_reaches_the_job(api: TestClient, funded: Customer) -> None:
    options = {
        "model": "whisper-turbo",
        "language": "ES",
        "diarization": "on",
        "timestamps": "0",
        "word_timestamps": "Yes",
        "summary": "TRUE",
        "vocabulary": '["Kubernetes", "Dr. Nguyen"]',
        "webhook_url": "https://example.com/hook?x=1",
    }
    job = job_of(funded, submit(api, funded, options))
    assert job.options == TranscriptionOptions(
        model=Model.TURBO,
        language="es",
        diarization=True,
        timestamps=False,
        word_timestamps=True,
        summary=True,
        vocabulary=("Kubernetes", "Dr. Nguyen"),
    )
    assert job.webhook_url == "https://example.com/hook?x=1"


def test_a_form_full_of_empty_fields_means_the_defaults(api: TestClient, funded: Customer) -> None:
    names = (
        "model",
        "language",
        "diarization",
        "timestamps",
        "word_timestamps",
        "summary",
        "vocabulary",
        "webhook_url",
    )
    job = job_of(funded, submit(api, funded, dict.fromkeys(names, "")))
    assert job.options == TranscriptionOptions()
    assert job.webhook_url is None


@pytest.mark.parametrize("option", ["dry_run=true", "max_credits=1", "vocabulary[]=Ada", "language="])
@pytest.mark.parametrize("path", ["", "url/", "550e8400-e29b-41d4-a716-446655440000/rerun/"])
def test_an_option_in_the_address_is_refused_instead_of_passed_over(
    api: TestClient, funded: Customer, path: str, option: str
) -> None:
    sent: dict[str, Any] = {"json": {"url": "https://www.youtube.com/watch?v=1"}} if path else {"files": {"file": WAV}}
    response = api.post(f"{URL}{path}?{option}", headers=funded.headers, **sent)
    assert "body" in refusal(response, 400, "invalid_request", option.partition("=")[0])
    assert funded.balance().held_millicredits == 0


def test_other_parameters_in_the_address_do_no_harm(api: TestClient, funded: Customer) -> None:
    answer = api.post(f"{URL}?utm_source=x", headers=funded.headers, files={"file": ("a.wav", WAV)})
    assert answer.status_code == 202


def test_a_vocabulary_may_be_a_repeated_field(api: TestClient, funded: Customer) -> None:
    job = job_of(funded, submit(api, funded, {"vocabulary": ["Kubernetes", "etcd, Envoy"]}))
    assert job.options.vocabulary == ("Kubernetes", "etcd", "Envoy")


def test_unknown_fields_are_ignored_with_a_warning_that_knows_typing_errors(api: TestClient, funded: Customer) -> None:
    response = submit(api, funded, {"diarisation": "true", "x" * 500: "1"})
    assert not job_of(funded, response).options.diarization
    warnings = response.json()["warnings"]
    assert warnings[0] == "The unknown field 'diarisation' was ignored. Did you mean 'diarization'?"
    assert len(warnings[1]) < 100


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("../../../etc/passwd.wav", "passwd.wav"),
        ("\U0001f399\ufe0f запись.wav", "\U0001f399\ufe0f запись.wav"),
        ("a" * 1_024 + ".wav", "a" * 251 + ".wav"),
        ('quo"te.wav', None),
    ],
)
def test_any_filename_is_taken(api: TestClient, funded: Customer, name: str, stored: str | None) -> None:
    job = job_of(funded, submit(api, funded, name=name))
    assert stored is None or job.recording.filename == stored
    assert name not in job.recording.key


@pytest.mark.parametrize("recipe", ["mp3_cbr", "m4a_aac", "flac", "ogg_opus", "mp4_video", "webm_video", "mov_video"])
def test_the_contracts_formats_are_measured(api: TestClient, funded: Customer, recipe: str) -> None:
    body = media_files.make(media_files.RECIPES[recipe], 61)
    response = submit(api, funded, body=body, name=media_files.RECIPES[recipe].name)
    assert job_of(funded, response).estimated_seconds == pytest.approx(61, rel=0.01)
    assert response.json()["estimated_credits"] == pytest.approx(1.1)


def test_a_recording_of_unknown_length_is_taken_with_the_smallest_hold(api: TestClient, funded: Customer) -> None:
    response = submit(api, funded, body=bytes(range(256)) * 40, name="a.mp3")
    assert job_of(funded, response).estimated_seconds is None
    assert response.json()["estimated_credits"] is None
    assert funded.balance().held_millicredits == 100


def test_a_small_file_that_claims_a_thousand_hours_holds_no_fortune(api: TestClient, funded: Customer) -> None:
    body = bytearray(media.wav(0.05))
    body[28:32] = (1).to_bytes(4, "little")  # bytes per second
    body[24:28] = (1).to_bytes(4, "little")  # sample rate
    assert submit(api, funded, body=bytes(body)).status_code == 202
    assert funded.balance().held_millicredits < 2_000


@pytest.mark.parametrize("path", [URL, URL.rstrip("/")])
def test_the_slash_makes_no_difference(api: TestClient, funded: Customer, path: str) -> None:
    response = api.post(path, headers=funded.headers, files={"file": ("a.wav", WAV)})
    job = job_of(funded, response)
    assert response.headers["location"] == f"{URL}{job.job_id}/"
    for poll in (f"{URL}{job.job_id}", f"{URL}{job.job_id}/"):
        assert api.get(poll, headers=funded.headers).status_code == 200


# ---- POST: what is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"model": "whisper-small"}, "model"),
        ({"language": "klingon"}, "language"),
        ({"language": "en-US"}, "language"),
        ({"diarization": "maybe"}, "diarization"),
        ({"timestamps": "2"}, "timestamps"),
        ({"word_timestamps": "\x00"}, "word_timestamps"),
        ({"summary": "[]"}, "summary"),
        ({"summary": ["true", "true"]}, "summary"),
        ({"vocabulary": "[1, 2]"}, "vocabulary"),
        ({"vocabulary": '["a"'}, "vocabulary"),
        ({"webhook_url": "http://example.com/"}, "webhook_url"),
        ({"webhook_url": "https://169.254.169.254/"}, "webhook_url"),
        ({"webhook_url": "yes"}, "webhook_url"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_charged(
    api: TestClient, funded: Customer, data: dict[str, Any], field: str
) -> None:
    refusal(submit(api, funded, data), 400, "invalid_request", field)
    assert untouched(funded)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b"Just a few words of text.\n" * 10, "text file"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "PDF"),
        (b"PK\x03\x04" + bytes(100), "ZIP"),
        (b"#EXTM3U\nfile:///etc/passwd\n", "playlist"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "picture"),
    ],
)
def test_what_is_no_recording_is_refused_whatever_its_name(
    api: TestClient, funded: Customer, body: bytes, words: str
) -> None:
    assert words in refusal(submit(api, funded, body=body, name="song.mp3"), 400, "invalid_request", "file")
    assert untouched(funded)


def test_a_truncated_mp4_is_refused(api: TestClient, funded: Customer) -> None:
    whole = media_files.make(media_files.RECIPES["mp4_video"], 5)
    assert "cut off" in refusal(submit(api, funded, body=whole[: len(whole) // 2]), 400, "invalid_request", "file")
    assert untouched(funded)


def test_the_file_must_come_as_a_file(api: TestClient, funded: Customer) -> None:
    nothing = api.post(URL, headers=funded.headers)
    assert "missing" in refusal(nothing, 400, "invalid_request", "file")
    urlencoded = api.post(URL, headers=funded.headers, data={"diarization": "true"})
    assert "missing" in refusal(urlencoded, 400, "invalid_request", "file")
    only_fields = api.post(URL, headers=funded.headers, files={"diarization": (None, "true")})
    assert "missing" in refusal(only_fields, 400, "invalid_request", "file")
    as_text = api.post(URL, headers=funded.headers, files={"file": (None, "audio.mp3")})
    assert "@" in refusal(as_text, 400, "invalid_request", "file")
    elsewhere = api.post(URL, headers=funded.headers, files={"audio": ("a.wav", WAV)})
    assert "'audio'" in refusal(elsewhere, 400, "invalid_request", "file")
    assert untouched(funded)


@pytest.mark.parametrize("count", [2, 3, 50])
def test_several_files_are_refused(api: TestClient, funded: Customer, count: int) -> None:
    files = [("file", ("a.wav", WAV[:5_000])) for _ in range(count)]
    response = api.post(URL, headers=funded.headers, files=files)
    refusal(response, 400, "invalid_request", "file")
    assert untouched(funded)


@pytest.mark.parametrize("media_type", ["audio/wav", "text/plain", "multipart/mixed; boundary=x"])
def test_another_content_type_is_answered_with_what_to_send(api: TestClient, funded: Customer, media_type: str) -> None:
    response = api.post(URL, headers={**funded.headers, "Content-Type": media_type}, content=WAV)
    assert "multipart/form-data" in refusal(response, 415, "unsupported_media_type")


def part(name: bytes, *, filename: bytes | None = None) -> bytes:
    """The head of a multipart part whose boundary is x."""
    ending = b"" if filename is None else b'; filename="' + filename + b'"'
    return b'--x\r\nContent-Disposition: form-data; name="' + name + b'"' + ending + b"\r\n\r\n"


FILE_PART, END = part(b"file", filename=b"a.wav"), b"\r\n--x--\r\n"
FORM = "multipart/form-data"


@pytest.mark.parametrize(
    ("content_type", "content"),
    [
        (FORM, FILE_PART + b"1" + END),
        (f"{FORM}; boundary=", FILE_PART + b"1" + END),
        (f"{FORM}; boundary=y", FILE_PART + b"1" + END),
        (f"{FORM}; boundary=x", b""),
        (f"{FORM}; boundary=x", b"\x00\xff" * 1_000),
        (f"{FORM}; boundary=x", FILE_PART),
        (f"{FORM}; boundary=x", FILE_PART + WAV[:5_000]),  # breaks off: no end of the part
        (f"{FORM}; boundary=x", FILE_PART.replace(b"\r\n", b"\n") + b"1"),
        (f"{FORM}; boundary=x", b"--x\r\n\r\nnameless" + END),
        (f"{FORM}; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\n1" + END),
        (f"{FORM}; boundary=x", b"--x\r\n" + b"A: " + b"b" * 100_000 + b"\r\n\r\n1" + END),
        (f"{FORM}; boundary=x", part(b"\xff\xfe") + b"1" + END),
        (f"{FORM}; boundary=" + "x" * 10_000, b"--x"),
        (f"{FORM}; boundary=x; charset=utf-7", FILE_PART + END),
        (f"{FORM}; boundary=x; charset=rot13", part(b"a") + b"b" + END),
        (f"{FORM}; boundary=x; charset=base64", part(b"a") + b"b" + END),
    ],
)
def test_a_malformed_body_is_a_bad_request(
    api: TestClient, funded: Customer, content_type: str, content: bytes
) -> None:
    response = api.post(URL, headers={**funded.headers, "Content-Type": content_type}, content=content)
    assert response.status_code == 400, response.text
    assert response.json()["error"] == "invalid_request"
    assert untouched(funded)


def test_too_many_or_too_large_fields_are_refused(api: TestClient, funded: Customer) -> None:
    many = {f"field{number}": "1" for number in range(300)}
    refusal(submit(api, funded, many), 400, "invalid_request")
    refusal(submit(api, funded, {"vocabulary": "x" * 100_000}), 400, "invalid_request", "vocabulary")
    assert untouched(funded)


def test_too_few_credits_are_answered_in_the_contracts_words(api: TestClient, customer: Customer) -> None:
    customer.grant(1)
    message = refusal(submit(api, customer), 402, "insufficient_credits")
    assert message == "You have 1 credits remaining but this transcription requires 1.5 credits."
    assert untouched(customer)


# ---- Keys -----------------------------------------------------------------------------------------------------------

ENDPOINTS = [("POST", URL), ("GET", URL + "550e8400-e29b-41d4-a716-446655440000/"), ("GET", "/api/v1/languages/")]


@pytest.mark.parametrize(("method", "url"), ENDPOINTS)
@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Basic YTpi",
        "Bearer att_" + "A" * 43 + "00000000",
        "Bearer " + "a" * 9_000,
    ],
)
def test_without_a_good_key_nothing_else_is_looked_at(
    api: TestClient, method: str, url: str, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    response = api.request(method, url, headers=headers, content=b"nonsense")
    refusal(response, 401, "unauthorized")
    assert response.headers["www-authenticate"] == "Bearer"


def test_the_word_bearer_may_be_written_in_any_case(api: TestClient, customer: Customer) -> None:
    response = api.get("/api/v1/languages/", headers={"Authorization": f"bearer {customer.api_key}"})
    assert response.status_code == 200


def test_two_authorization_headers_are_none(api: TestClient, customer: Customer) -> None:
    headers = [("Authorization", f"Bearer {customer.api_key}"), ("Authorization", f"Bearer {customer.api_key}")]
    refusal(api.get("/api/v1/languages/", headers=headers), 401, "unauthorized")


def test_a_revoked_key_is_refused(api: TestClient, customer: Customer) -> None:
    assert api.get("/api/v1/languages/", headers=customer.headers).status_code == 200
    for key in customer.services.keys.of_account(customer.account_id):
        customer.services.keys.revoke(key)
    refusal(api.get("/api/v1/languages/", headers=customer.headers), 401, "unauthorized")


def test_a_key_does_only_what_its_scopes_say(api: TestClient, funded: Customer) -> None:
    reader = {"Authorization": f"Bearer {funded.make_key(frozenset({Scope.READ}))}"}
    writer = {"Authorization": f"Bearer {funded.make_key(frozenset({Scope.TRANSCRIBE}))}"}
    refusal(api.post(URL, headers=reader, files={"file": ("a.wav", WAV)}), 403, "forbidden")
    job_id = job_of(funded, api.post(URL, headers=writer, files={"file": ("a.wav", WAV)})).job_id
    refusal(api.get(f"{URL}{job_id}/", headers=writer), 403, "forbidden")
    assert api.get(f"{URL}{job_id}/", headers=reader).status_code == 200


# ---- GET ------------------------------------------------------------------------------------------------------------

TRANSCRIPT = Transcript(
    duration_seconds=90.0,
    language="en",
    engines=Engines(transcriber="test"),
    segments=(
        Segment(
            start_seconds=0.0,
            end_seconds=1.5,
            text="Hello there.",
            speaker_id="SPEAKER_00",
            confidence=0.98,
            words=(Word(text="Hello", start_seconds=0.0, end_seconds=0.5, confidence=0.9),),
        ),
    ),
    speakers=(Speaker(id="SPEAKER_00", label="SPEAKER_00", speaking_time_seconds=1.5),),
    summary=Summary(text="A greeting.", topics=("greeting",)),
)


def start(jobs: Jobs, job_id: JobId, account: Customer) -> tuple[Job, Run]:
    """Bring a queued job to where a worker has it."""
    jobs.dispatch(job_id)
    job = jobs.get(job_id, account.account_id)
    assert job.attempt is not None
    run = Run(job_id=job_id, attempt_id=AttemptId(job.attempt.attempt_id), run_token="test")
    return jobs.begin(run), run


def complete(customer: Customer, job_id: JobId) -> None:
    """Do the worker's part with a ready transcript."""
    services = customer.services
    job, run = start(services.jobs, job_id, customer)
    key = services.results.store(job, run, TRANSCRIPT)
    services.jobs.complete(job, run, duration_seconds=90.0, result_key=key)


def test_a_running_job_tells_its_progress(api: TestClient, funded: Customer) -> None:
    job = job_of(funded, submit(api, funded))
    response = api.get(f"{URL}{job.job_id}/", headers=funded.headers)
    assert response.json() == {"id": job.job_id, "status": "processing", "progress": 0, "stage": "queued"}
    assert int(response.headers["retry-after"]) > 0
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("query", "segments"), [("", False), ("?segments=true", True), ("?segments=1", True), ("?segments=", False)]
)
def test_a_completed_job_gives_the_contracts_result(
    api: TestClient, funded: Customer, query: str, segments: bool
) -> None:
    job = job_of(funded, submit(api, funded, {"diarization": "true", "summary": "true", "word_timestamps": "true"}))
    complete(funded, job.job_id)
    response = api.get(f"{URL}{job.job_id}/{query}", headers=funded.headers)
    body = response.json()
    assert response.status_code == 200
    assert "retry-after" not in response.headers
    assert (body["status"], body["transcript"], body["language"]) == ("completed", "Hello there.", "en")
    assert (body["duration_seconds"], body["credits_used"]) == (90.0, 2.0)
    assert body["speakers"] == [{"id": "SPEAKER_00", "label": "SPEAKER_00", "speaking_time": 1.5}]
    assert (body["summary"], body["topics"]) == ("A greeting.", ["greeting"])
    assert ("segments" in body) is segments
    if segments:
        assert body["segments"][0]["speaker"] == "SPEAKER_00"
        assert body["segments"][0]["words"][0]["word"] == "Hello"


def test_a_failed_job_says_why(api: TestClient, funded: Customer) -> None:
    job = job_of(funded, submit(api, funded))
    running, run = start(funded.services.jobs, job.job_id, funded)
    funded.services.jobs.fail(running, JobFailure("no_audio_track", "The file has no sound."), run)
    body = api.get(f"{URL}{job.job_id}/", headers=funded.headers).json()
    assert (body["status"], body["error_message"]) == ("failed", "The file has no sound.")
    assert funded.balance().available_millicredits == 1_000_000


@pytest.mark.parametrize(
    "job_id",
    ["550e8400-e29b-41d4-a716-446655440000", "x", "..", "%2e%2e", "%00", "a" * 3_000, "😀", "550e8400%20", "{id}"],
)
def test_an_id_that_is_none_is_not_found(api: TestClient, customer: Customer, job_id: str) -> None:
    response = api.get(f"{URL}{job_id}/", headers=customer.headers)
    if job_id not in {"..", "%2e%2e"}:  # clients themselves make another path of these
        refusal(response, 404, "not_found")
    assert response.status_code in {404, 405}


def test_another_accounts_job_is_not_found(api: TestClient, funded: Customer) -> None:
    job = job_of(funded, submit(api, funded))
    stranger = funded.services.accounts.create("Eve")
    _, secret = funded.services.keys.create(stranger.account_id, "test")
    response = api.get(f"{URL}{job.job_id}/", headers={"Authorization": f"Bearer {secret}"})
    refusal(response, 404, "not_found")


def test_a_nonsensical_query_is_refused(api: TestClient, funded: Customer) -> None:
    job = job_of(funded, submit(api, funded))
    url = f"{URL}{job.job_id}/"
    refusal(api.get(url + "?segments=perhaps", headers=funded.headers), 400, "invalid_request", "segments")
    refusal(api.get(url + "?segments=1&segments=0", headers=funded.headers), 400, "invalid_request", "segments")
    assert api.get(url + "?unknown=1", headers=funded.headers).status_code == 200


def test_a_result_whose_retention_is_over_is_not_found(api: TestClient, funded: Customer) -> None:
    job = job_of(funded, submit(api, funded))
    complete(funded, job.job_id)
    stored = funded.services.jobs.get(job.job_id, funded.account_id)
    assert stored.outcome is not None
    assert stored.outcome.result_key is not None
    funded.services.bucket.delete(stored.outcome.result_key)
    assert "retention" in refusal(api.get(f"{URL}{job.job_id}/", headers=funded.headers), 404, "not_found")


# ---- Languages and everything else -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/v1/languages/", "/api/v1/languages"])
def test_languages_are_the_contracts_list(api: TestClient, customer: Customer, path: str) -> None:
    languages = api.get(path, headers=customer.headers).json()["languages"]
    assert languages[:2] == [{"code": "", "name": "Auto-detect"}, {"code": "en", "name": "English"}]
    assert len(languages) == 101


@pytest.mark.parametrize("path", ["/", "/x", "/redoc", "/api/v1/", "/api/v2/transcribe/", "//", "/%00"])
def test_an_unknown_path_is_not_found_in_our_shape(api: TestClient, path: str) -> None:
    refusal(api.get(path), 404, "not_found")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_another_method_is_not_allowed_in_our_shape(api: TestClient, customer: Customer, method: str) -> None:
    response = api.request(method, "/api/v1/languages/", headers=customer.headers)
    refusal(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "GET"


def test_what_nobody_foresaw_is_a_500_that_tells_nothing(
    api: TestClient, funded: Customer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = boto3.client("dynamodb", endpoint_url="http://127.0.0.1:1")
    monkeypatch.setattr(broken, "get_item", lambda **_: 1 / 0)
    monkeypatch.setattr(funded.services.jobs._ports.store, "_client", broken)
    response = api.get(f"{URL}550e8400-e29b-41d4-a716-446655440000/", headers=funded.headers)
    message = refusal(response, 500, "server_error")
    assert "ZeroDivision" not in response.text
    assert "request_id" in message
    assert "ZeroDivisionError" in caplog.text


def test_no_key_and_no_filename_is_ever_logged(
    api: TestClient, funded: Customer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG", logger="functions"):
        submit(api, funded, name="secret-merger.wav")
        api.get(f"{URL}{funded.api_key}/", headers=funded.headers)
    told = "\n".join(
        str(record.__dict__) for record in caplog.records if record.name.startswith(("functions", "shared"))
    )
    assert "request" in told
    assert funded.api_key not in told
    assert "secret-merger" not in told
