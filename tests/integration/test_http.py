"""The guarded HTTP client against real sockets: what it refuses, and that nothing makes it wait or read for ever."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shared.adapters.http import EXCERPT_BYTES, HttpClient, HttpFailure
from shared.adapters.pinned import ForbiddenAddress
from shared.domain.urls import WebUrl, parse_webhook_url
from tests.receivers import OK, Receiver, Script, answering, receiver, trickling

BODY = b'{"id": "1"}'


def local(running: Receiver, host: str = "127.0.0.1") -> WebUrl:
    return parse_webhook_url(f"http://{host}:{running.port}/hook?a=b", allow_loopback=True)


def post(client: HttpClient, url: WebUrl, timeout_seconds: float = 5.0) -> int:
    return client.post(url, BODY, {"Content-Type": "application/json"}, timeout_seconds=timeout_seconds).status


@pytest.fixture
def client() -> HttpClient:
    return HttpClient(allow_loopback=True)


def test_a_post_arrives_whole_with_the_name_in_its_host_header(client: HttpClient) -> None:
    with receiver(answering(OK)) as running:
        url = local(running, "localhost")
        answer = client.post(url, BODY, {"webhook-id": "msg_1"}, timeout_seconds=5)
    assert (answer.status, answer.body_start) == (200, b"ok")
    head, _, body = running.requests[0].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /hook?a=b HTTP/1.1"
    assert f"Host: localhost:{running.port}".encode() in lines
    assert b"webhook-id: msg_1" in lines
    assert body == BODY


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_answers_not_orders(client: HttpClient, status: int) -> None:
    with receiver(answering(OK)) as elsewhere:
        redirect = f"HTTP/1.1 {status} Moved\r\nLocation: {elsewhere.url}\r\nContent-Length: 0\r\n\r\n".encode()
        with receiver(answering(redirect)) as running:
            assert post(client, local(running)) == status
        assert elsewhere.requests == []


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["::1"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["fe80::1%lo"],
        ["93.184.216.34", "127.0.0.1"],  # one good address does not excuse a bad one
    ],
)
def test_a_name_that_resolves_into_a_private_network_is_refused(addresses: list[str]) -> None:
    client = HttpClient(resolve=lambda host, port: addresses)
    with receiver(answering(OK)) as running:
        url = parse_webhook_url(f"https://example.com:{running.port}/")
        with pytest.raises(ForbiddenAddress):
            post(client, url)
    assert running.requests == []


def test_allowing_loopback_lets_no_other_name_point_there() -> None:
    client = HttpClient(allow_loopback=True, resolve=lambda host, port: ["127.0.0.1"])
    with receiver(answering(OK)) as running, pytest.raises(ForbiddenAddress):
        post(client, parse_webhook_url(f"https://example.com:{running.port}/", allow_loopback=True))
    assert running.requests == []


def test_a_loopback_name_that_points_elsewhere_is_refused() -> None:
    client = HttpClient(allow_loopback=True, resolve=lambda host, port: ["10.0.0.1"])
    with pytest.raises(ForbiddenAddress):
        post(client, parse_webhook_url("http://localhost:9/", allow_loopback=True))


def test_a_name_is_resolved_once_so_it_cannot_change_between_check_and_connection() -> None:
    asked: list[str] = []

    def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    with receiver(answering(OK)) as running:
        post(HttpClient(allow_loopback=True, resolve=rebinding), local(running, "localhost"))
    assert asked == ["localhost"]


def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    with receiver(answering(OK)) as running:
        client = HttpClient(allow_loopback=True, resolve=lambda host, port: ["127.0.0.2", "127.0.0.1"])
        assert post(client, local(running, "localhost")) == 200


def test_a_name_without_addresses_is_a_failure() -> None:
    with pytest.raises(HttpFailure, match="no address"):
        post(HttpClient(resolve=lambda host, port: []), parse_webhook_url("https://example.com/"))


def test_a_name_that_does_not_exist_is_a_failure() -> None:
    def unknown(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    with pytest.raises(HttpFailure, match="could not be resolved"):
        post(HttpClient(resolve=unknown), parse_webhook_url("https://example.com/"))


def test_nobody_listening_is_a_failure(client: HttpClient) -> None:
    with receiver(answering(OK)) as running:
        url = local(running)
    with pytest.raises(HttpFailure, match="refused"):
        post(client, url)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"


@pytest.mark.parametrize(
    "script",
    [
        trickling(OK * 100, 0.1),  # within each read's patience, never within the whole
        lambda connection, number: time.sleep(1),
    ],
    ids=["a byte at a time", "silence"],
)
def test_the_deadline_is_for_the_whole_answer(client: HttpClient, script: Script) -> None:
    with receiver(script) as running, pytest.raises(HttpFailure, match=r"within 0\.5 s"):
        post(client, local(running), timeout_seconds=0.5)


def test_a_resolver_that_hangs_is_left_behind() -> None:
    def hanging(host: str, port: int) -> Sequence[str]:
        time.sleep(2)
        return ["127.0.0.1"]

    with pytest.raises(HttpFailure, match="within"):
        post(HttpClient(resolve=hanging), parse_webhook_url("https://example.com/"), timeout_seconds=0.2)


def test_only_the_start_of_an_endless_body_is_read(client: HttpClient) -> None:
    def endless(connection: socket.socket, _number: int) -> None:
        connection.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 10000000000\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65_536)

    with receiver(endless) as running:
        answer = client.post(local(running), BODY, {}, timeout_seconds=5)
    assert answer.status == 500
    assert len(answer.body_start) == EXCERPT_BYTES


def test_a_body_that_breaks_off_does_not_undo_the_status(client: HttpClient) -> None:
    with receiver(answering(HEAD + b"part")) as running:
        assert post(client, local(running)) == 200


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00\x01\x02",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 99999 x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
    ids=["nothing", "binary", "ssh", "no status", "wild status", "too many headers", "too long a header"],
)
def test_what_is_no_http_is_a_failure(client: HttpClient, answer: bytes) -> None:
    with receiver(answering(answer)) as running, pytest.raises(HttpFailure):
        post(client, local(running))


def test_a_large_body_is_sent_whole(client: HttpClient) -> None:
    body = b"x" * 3_000_000
    with receiver(answering(OK)) as running:
        client.post(local(running), body, {}, timeout_seconds=10)
    assert running.requests[0].endswith(body)
    assert len(running.requests[0]) > len(body)


# ---- TLS -----------------------------------------------------------------------------------------------------------


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
        self.certificate = self._sign(self._name, self._key.public_key(), is_authority=True)

    def trusted(self) -> ssl.SSLContext:
        """A client's context that trusts this authority and nobody else."""
        pem = self.certificate.public_bytes(serialization.Encoding.PEM).decode()
        return ssl.create_default_context(cadata=pem)

    def server(self, host: str, days: int = 1) -> ssl.SSLContext:
        """A server's context with a certificate for ``host`` that is valid for ``days`` from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        certificate = self._sign(name, key.public_key(), host=host, days=days)
        file = self._folder / f"{host}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _sign(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePublicKey,
        *,
        host: str = "",
        days: int = 1,
        is_authority: bool = False,
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        ends = now + dt.timedelta(days=days)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(now, ends) - dt.timedelta(days=1))
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if host:
            alternative = x509.SubjectAlternativeName([_general_name(host)])
            builder = builder.add_extension(alternative, critical=False)
        return builder.sign(self._key, hashes.SHA256())


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


def secure(running: Receiver, host: str = "localhost") -> WebUrl:
    return parse_webhook_url(f"https://{host}:{running.port}/", allow_loopback=True)


def test_the_certificate_must_be_the_names_though_the_connection_is_to_an_address(authority: Authority) -> None:
    client = HttpClient(allow_loopback=True, tls=authority.trusted())
    with receiver(answering(OK), authority.server("localhost")) as running:
        assert post(client, secure(running)) == 200


def test_a_certificate_for_another_name_is_refused(authority: Authority) -> None:
    client = HttpClient(allow_loopback=True, tls=authority.trusted())
    with receiver(answering(OK), authority.server("example.com")) as running, pytest.raises(HttpFailure, match="TLS"):
        post(client, secure(running))


def test_an_expired_certificate_is_refused(authority: Authority) -> None:
    client = HttpClient(allow_loopback=True, tls=authority.trusted())
    expired = authority.server("localhost", days=-1)
    with receiver(answering(OK), expired) as running, pytest.raises(HttpFailure, match="TLS"):
        post(client, secure(running))


def test_a_certificate_of_nobody_known_is_refused(authority: Authority) -> None:
    client = HttpClient(allow_loopback=True)
    with receiver(answering(OK), authority.server("localhost")) as running, pytest.raises(HttpFailure, match="TLS"):
        post(client, secure(running))


def test_a_server_that_speaks_no_tls_is_a_failure(authority: Authority) -> None:
    client = HttpClient(allow_loopback=True, tls=authority.trusted())
    with receiver(answering(OK)) as running, pytest.raises(HttpFailure):
        post(client, secure(running), timeout_seconds=1)
