"""Presigned URLs and POST policies are held to what they say, as S3 does, in S3's own errors."""

from __future__ import annotations

import datetime as dt
import json
import xml.etree.ElementTree as ET
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from infra.local import presigned
from infra.local.aws import SECRET_KEY
from tests.infra.small_stack import SmallStack, token

TEN = 10


def _refused(reply: requests.Response) -> tuple[int, str, str]:
    error = ET.fromstring(reply.text)
    return reply.status_code, error.findtext("Code") or "", error.findtext("Message") or ""


# ---- URLs --------------------------------------------------------------------------------------------------------


def _url(stack: SmallStack, operation: str, key: str, *, expires: int = 60, **more: Any) -> str:
    parameters = {"Bucket": stack.output_of("Bucket"), "Key": key, **more}
    return str(stack.client("s3").generate_presigned_url(operation, Params=parameters, ExpiresIn=expires))


def test_a_presigned_put_and_get_work_for_any_key(small_stack: SmallStack) -> None:
    key = f"a b/ü+&=%25/{token()}"
    assert requests.put(_url(small_stack, "put_object", key), data=b"hello", timeout=30).status_code == 200
    assert requests.get(_url(small_stack, "get_object", key), timeout=30).content == b"hello"


def test_a_presigned_url_is_good_for_its_own_method_key_and_query_only(small_stack: SmallStack) -> None:
    key = token()
    url = _url(small_stack, "put_object", key)
    wrong = {
        "method": requests.get(url, timeout=30),
        "key": requests.put(url.replace(key, key[::-1]), data=b"x", timeout=30),
        "query": requests.put(url + "&uploadId=1", data=b"x", timeout=30),
        "signature": requests.put(url[:-1] + ("0" if url[-1] != "0" else "1"), data=b"x", timeout=30),
        "expiry": requests.put(url.replace("X-Amz-Expires=60", "X-Amz-Expires=600"), data=b"x", timeout=30),
    }
    assert {name: _refused(reply)[:2] for name, reply in wrong.items()} == dict.fromkeys(
        wrong, (403, "SignatureDoesNotMatch")
    )


def test_a_signed_content_type_must_be_sent(small_stack: SmallStack) -> None:
    url = _url(small_stack, "put_object", token(), ContentType="audio/mpeg")
    assert requests.put(url, data=b"x", headers={"Content-Type": "audio/mpeg"}, timeout=30).status_code == 200
    other = requests.put(url, data=b"x", headers={"Content-Type": "text/html"}, timeout=30)
    assert _refused(other)[:2] == (403, "SignatureDoesNotMatch")


def test_an_amz_header_that_was_not_signed_is_refused(small_stack: SmallStack) -> None:
    url = _url(small_stack, "put_object", token())
    reply = requests.put(url, data=b"x", headers={"x-amz-acl": "public-read"}, timeout=30)
    assert _refused(reply) == (403, "AccessDenied", "There were headers present in the request which were not signed")


def test_presigned_parts_of_a_multipart_upload_work_and_are_checked(small_stack: SmallStack) -> None:
    s3, bucket, key = small_stack.client("s3"), small_stack.output_of("Bucket"), token()
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    url = _url(small_stack, "upload_part", key, UploadId=upload, PartNumber=1)
    part = requests.put(url, data=b"whole", timeout=30)
    assert part.status_code == 200
    moved = requests.put(url.replace("partNumber=1", "partNumber=2"), data=b"x", timeout=30)
    assert _refused(moved)[:2] == (403, "SignatureDoesNotMatch")
    s3.complete_multipart_upload(
        Bucket=bucket,
        Key=key,
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part.headers["ETag"]}]},
    )
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"whole"


@pytest.mark.parametrize(
    ("seconds_later", "refusal"),
    [(59, None), (61, "Request has expired"), (-1000, "Request is not valid yet")],
)
def test_a_presigned_url_expires(small_stack: SmallStack, seconds_later: int, refusal: str | None) -> None:
    url = urlsplit(_url(small_stack, "get_object", "k"))
    environ = {
        "REQUEST_METHOD": "GET",
        "REQUEST_URI": f"{url.path}?{url.query}",
        "PATH_INFO": url.path,
        "QUERY_STRING": url.query,
        "HTTP_HOST": url.netloc,
    }
    now = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds_later)
    if refusal is None:
        presigned.check(environ, secret_key=SECRET_KEY, now=now)
        return
    with pytest.raises(presigned.S3Refusal) as refused:
        presigned.check(environ, secret_key=SECRET_KEY, now=now)
    assert (refused.value.status, refused.value.code, refused.value.message) == (403, "AccessDenied", refusal)


def test_an_expiry_over_a_week_is_refused(small_stack: SmallStack) -> None:
    reply = requests.get(_url(small_stack, "get_object", "k", expires=8 * 24 * 3600), timeout=30)
    assert _refused(reply)[:2] == (400, "AuthorizationQueryParametersError")


def test_incomplete_and_old_signatures_are_refused(small_stack: SmallStack) -> None:
    base = f"{small_stack.ready['s3_endpoint']}/{small_stack.output_of('Bucket')}/k"
    incomplete = requests.get(base + "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0", timeout=30)
    assert _refused(incomplete)[:2] == (400, "AuthorizationQueryParametersError")
    old = requests.get(base + "?AWSAccessKeyId=test&Signature=x&Expires=9999999999", timeout=30)
    assert _refused(old)[:2] == (400, "InvalidRequest")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
def test_nobody_gets_in_without_a_signature(small_stack: SmallStack, method: str) -> None:
    url = f"{small_stack.ready['s3_endpoint']}/{small_stack.output_of('Bucket')}/k"
    assert _refused(requests.request(method, url, data=b"x", timeout=30))[:2] == (403, "AccessDenied")


# ---- POST policies -----------------------------------------------------------------------------------------------


def _form(stack: SmallStack, key: str, conditions: list[Any] | None = None, **fields: str) -> dict[str, Any]:
    made = stack.client("s3").generate_presigned_post(
        stack.output_of("Bucket"), key, Fields=fields, Conditions=conditions, ExpiresIn=60
    )
    return dict(made)


def _post(form: dict[str, Any], body: bytes = b"x", changed: dict[str, str] | None = None) -> requests.Response:
    return requests.post(
        form["url"], data=form["fields"] | (changed or {}), files={"file": ("name.mp3", body, "audio/mpeg")}, timeout=30
    )


def test_a_post_within_its_policy_stores_the_file(small_stack: SmallStack) -> None:
    key = f"up/{token()}"
    conditions = [["content-length-range", 1, TEN], {"Content-Type": "audio/mpeg"}]
    form = _form(small_stack, key, conditions, **{"Content-Type": "audio/mpeg"})
    assert _post(form, b"0123456789").status_code == 204
    stored = small_stack.client("s3").get_object(Bucket=small_stack.output_of("Bucket"), Key=key)
    assert stored["Body"].read() == b"0123456789"


def test_the_size_of_a_post_is_held_to_its_range(small_stack: SmallStack) -> None:
    form = _form(small_stack, token(), [["content-length-range", 2, TEN]])
    assert _refused(_post(form, b"x" * (TEN + 1)))[:2] == (400, "EntityTooLarge")
    assert _refused(_post(form, b"x"))[:2] == (400, "EntityTooSmall")
    assert "<MaxSizeAllowed>10</MaxSizeAllowed>" in _post(form, b"x" * 11).text


def test_changed_fields_and_fields_beyond_the_policy_are_refused(small_stack: SmallStack) -> None:
    form = _form(small_stack, "fixed", [["starts-with", "$Content-Type", "audio/"]], **{"Content-Type": "audio/mpeg"})
    assert _post(form).status_code == 204
    assert _post(form, changed={"Content-Type": "audio/wav"}).status_code == 204
    assert _post(form, changed={"x-ignore-this": "1"}).status_code == 204
    code = (403, "AccessDenied")
    assert _refused(_post(form, changed={"key": "other"}))[:2] == code
    assert _refused(_post(form, changed={"Content-Type": "text/html"}))[:2] == code
    extra = _refused(_post(form, changed={"acl": "public-read"}))
    assert extra == (*code, "Invalid according to Policy: Extra input fields: acl")


def test_the_filename_fills_in_the_key(small_stack: SmallStack) -> None:
    folder = token()
    form = _form(small_stack, f"{folder}/${{filename}}", [["starts-with", "$key", f"{folder}/"]])
    assert _post(form).status_code == 204
    listed = small_stack.client("s3").list_objects_v2(Bucket=small_stack.output_of("Bucket"), Prefix=folder)
    assert [each["Key"] for each in listed["Contents"]] == [f"{folder}/name.mp3"]


def test_a_changed_or_unsigned_policy_is_refused(small_stack: SmallStack) -> None:
    form, other = _form(small_stack, "one"), _form(small_stack, "two")
    assert _refused(_post(form, changed={"policy": other["fields"]["policy"]}))[:2] == (403, "SignatureDoesNotMatch")
    without = dict(form, fields={name: v for name, v in form["fields"].items() if name != "x-amz-signature"})
    assert _refused(_post(without))[:2] == (400, "InvalidArgument")
    bare = dict(form, fields={"key": "one"})
    assert _refused(_post(bare))[:2] == (403, "AccessDenied")


def test_a_policy_for_one_bucket_is_no_good_for_another(small_stack: SmallStack) -> None:
    small_stack.client("s3").create_bucket(Bucket="somebody-elses")
    form = _form(small_stack, "k")
    form["url"] = f"{small_stack.ready['s3_endpoint']}/somebody-elses"
    assert _refused(_post(form))[:2] == (403, "AccessDenied")


def test_an_expired_policy_is_refused(small_stack: SmallStack) -> None:
    form = small_stack.client("s3").generate_presigned_post(small_stack.output_of("Bucket"), "k", ExpiresIn=-5)
    assert _refused(_post(form)) == (403, "AccessDenied", "Invalid according to Policy: Policy expired.")


def test_a_form_without_a_file_or_with_garbage_is_refused(small_stack: SmallStack) -> None:
    form = _form(small_stack, "k")
    files = {name: (None, value) for name, value in form["fields"].items()}
    assert _refused(requests.post(form["url"], files=files, timeout=30))[:2] == (400, "InvalidArgument")
    garbage = requests.post(
        form["url"], data=b"garbage", headers={"Content-Type": "multipart/form-data; boundary=x"}, timeout=30
    )
    assert _refused(garbage)[0] in {400, 403}


def test_a_header_signed_request_needs_nothing_more(small_stack: SmallStack) -> None:
    s3 = small_stack.client("s3")
    s3.put_object(Bucket=small_stack.output_of("Bucket"), Key="signed", Body=json.dumps({}).encode())
    assert s3.get_object(Bucket=small_stack.output_of("Bucket"), Key="signed")["Body"].read() == b"{}"
