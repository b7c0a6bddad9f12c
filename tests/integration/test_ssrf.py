"""Hostile URLs against everything that goes out: none reaches a server of ours."""

from __future__ import annotations

import base64
import contextlib
import socket
import urllib.request
from collections.abc import Iterator, Sequence
from urllib.parse import urljoin

import pytest

from shared.adapters.downloads import DownloadFailure, DownloadLimits, DownloadProblem, Downloads
from shared.adapters.guard_proxy import Upstream, guard_proxy
from shared.adapters.http import HttpClient, HttpFailure
from shared.adapters.pinned import GuardedConnector
from shared.domain.urls import UnsafeUrl, is_loopback_host, parse_source_url, parse_webhook_url
from tests.integration.web_servers import Reply, Site, site

LIMITS = DownloadLimits(max_bytes=1_000_000, seconds=1.0)

# What these names "resolve" to in the tests.
HOSTILE_NAMES: dict[str, Sequence[str]] = {
    "loopback.example.com": ["127.0.0.1"],
    "loopback6.example.com": ["::1"],
    "private.example.com": ["10.0.0.5"],
    "private172.example.com": ["172.16.9.9"],
    "private192.example.com": ["192.168.1.1"],
    "metadata.example.com": ["169.254.169.254"],
    "metadata6.example.com": ["fd00:ec2::254"],
    "azure.example.com": ["168.63.129.16"],
    "cgnat.example.com": ["100.64.1.1"],
    "zero.example.com": ["0.0.0.0"],
    "broadcast.example.com": ["255.255.255.255"],
    "multicast.example.com": ["224.0.0.251"],
    "multicast6.example.com": ["ff02::1"],
    "linklocal6.example.com": ["fe80::1"],
    "uniquelocal.example.com": ["fc00::1"],
    "mapped.example.com": ["::ffff:127.0.0.1"],
    "compatible.example.com": ["::127.0.0.1"],
    "nat64.example.com": ["64:ff9b::7f00:1"],
    "nat64private.example.com": ["64:ff9b::a00:5"],
    "nat64local.example.com": ["64:ff9b:1::7f00:1"],
    "sixtofour.example.com": ["2002:7f00:1::1"],
    "teredo.example.com": ["2001:0:4136:e378:8000:63bf:80ff:fffe"],
    "documentation.example.com": ["192.0.2.1"],
    "benchmark.example.com": ["198.18.0.1"],
    "reserved.example.com": ["240.0.0.1"],
    "mixed.example.com": ["93.184.216.34", "127.0.0.1"],
    "mixed6.example.com": ["2606:2800:220:1:248:1893:25c8:1946", "::1"],
    "nothing.example.com": [],
}

URLS = [
    *(f"http://{name}:{{port}}/" for name in HOSTILE_NAMES),
    "http://127.0.0.1:{port}/",
    "http://127.1:{port}/",
    "http://127.0.1:{port}/",
    "http://0:{port}/",
    "http://0.0.0.0:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f000001:{port}/",
    "http://0x7f.0.0.1:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://017700000001:{port}/",
    "http://127.0.0.1.:{port}/",
    "http://127.000.000.001:{port}/",
    "http://%31%32%37.0.0.1:{port}/",
    "http://①②⑦.⓪.⓪.①:{port}/",
    "http://127。0。0。1:{port}/",
    "http://１２７.0.0.1:{port}/",  # noqa: RUF001 - look-alikes are what is tested
    "http://[::1]:{port}/",
    "http://[::]:{port}/",
    "http://[0:0:0:0:0:0:0:1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://[64:ff9b::127.0.0.1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://[fe80::1%25lo]:{port}/",
    "http://[::1%25lo]:{port}/",
    "http://localhost:{port}/",
    "http://LOCALHOST:{port}/",
    "http://localhost.:{port}/",
    "http://foo.localhost:{port}/",
    "http://ｌｏｃａｌｈｏｓｔ:{port}/",  # noqa: RUF001 - look-alikes are what is tested
    "http://localhost.localdomain:{port}/",
    "http://printer.local:{port}/",
    "http://db.internal:{port}/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/latest/meta-data/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://100.100.100.200/latest/meta-data/",
    "http://168.63.129.16/machine?comp=goalstate",
    "http://intranet:{port}/",
    "http://user:password@127.0.0.1:{port}/",
    "http://example.com@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}@example.com:99999/",
    "http://example.com:{port}\\@127.0.0.1:{port}/",
    "http:\\\\127.0.0.1:{port}\\",
    "http://127.0.0.1:{port}#@example.com/",
    "http://127.0.0.1:{port}?@example.com/",
    "http:///127.0.0.1:{port}/",
    "http:127.0.0.1:{port}/",
    "//127.0.0.1:{port}/",
    "http://example.com\r\nHost: 127.0.0.1:{port}/",
    "http://127.0.0.1:{port}/\r\nX-Injected: 1",
    " http://127.0.0.1:{port}/",
    "http://127.0.0.1\t:{port}/",
    "HTTP://127.0.0.1:{port}/",
    "https://127.0.0.1:{port}/",
    "ftp://127.0.0.1:{port}/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/_GET",
    "dict://127.0.0.1:{port}/info",
    "data:audio/wav;base64,UklGRg==",
    "jar:http://127.0.0.1:{port}/!/",
    "http://example.com:22/",
    "http://example.com:25/",
    "http://example.com:0/",
    "http://example.com:65536/",
    "http://" + "a" * 64 + ".com/",
    "http://[::1/",
    "http://]:{port}/",
    "http://",
    "",
    "http://loopback.example.com:{port}/" + "a" * 3_000,
]


def _resolve(host: str, _port: int) -> Sequence[str]:
    if host in HOSTILE_NAMES:
        return HOSTILE_NAMES[host]
    with contextlib.suppress(ValueError):
        socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
        return [host]
    with contextlib.suppress(OSError):
        return [socket.inet_ntoa(socket.inet_aton(host))]  # as lax as a system resolver: 0x7f.1, 2130706433
    raise socket.gaierror("unknown")


def _names_loopback(template: str) -> bool:
    """True where the URL names this machine outright, which the redirect test must allow for its first hop."""
    with contextlib.suppress(ValueError):
        url = parse_source_url(urljoin("http://localhost/", template.replace("{port}", "8080")), allow_loopback=True)
        return is_loopback_host(url.host)
    return False


@pytest.fixture
def canary() -> Iterator[Site]:
    """A server on loopback that nobody may reach."""
    with site(lambda _path: Reply(body=b"secret")) as running:
        yield running


def _fetch(url: str, *, connector: GuardedConnector | None = None) -> bytes:
    with Downloads(connector or GuardedConnector(resolve=_resolve)).open(url, LIMITS) as download:
        return b"".join(download.chunks)


def test_the_corpus_is_as_large_as_promised() -> None:
    assert len(set(URLS)) >= 90


@pytest.mark.parametrize("template", URLS)
def test_a_download_reaches_nothing_of_ours(template: str, canary: Site) -> None:
    with pytest.raises(DownloadFailure):
        _fetch(template.replace("{port}", str(canary.port)))

    assert canary.requests == []


@pytest.mark.parametrize("template", URLS)
def test_a_webhook_reaches_nothing_of_ours(template: str, canary: Site) -> None:
    client = HttpClient(resolve=_resolve)
    for text in (template, template.replace("http:", "https:", 1)):
        with pytest.raises((UnsafeUrl, HttpFailure)):  # noqa: PT012 - either step may refuse
            url = parse_webhook_url(text.replace("{port}", str(canary.port)))
            client.post(url, b"{}", {}, timeout_seconds=1)

    assert canary.requests == []


@pytest.mark.parametrize("template", [url for url in URLS if not _names_loopback(url)])
@pytest.mark.parametrize("status", [301, 307])
def test_a_redirect_reaches_nothing_of_ours(template: str, status: int, canary: Site) -> None:
    # Loopback by its own names is allowed here, so that the first hop can be served; the second one may not be.
    connector = GuardedConnector(allow_loopback=True, resolve=_resolve)
    target = template.replace("{port}", str(canary.port)).replace("\r", "").replace("\n", "")
    headers = {"Location": target.encode("utf-8").decode("latin-1")}
    with site(lambda _path: Reply(status=status, headers=headers)) as redirector:
        with contextlib.suppress(UnsafeUrl):
            parsed = parse_source_url(target, allow_loopback=True)
            if parsed.host in {"::1", "127.0.0.1"}:
                pytest.skip("loopback by its own name, allowed in this test")
        with pytest.raises(DownloadFailure):
            _fetch(redirector.url(), connector=connector)

    assert canary.requests == []


@pytest.mark.parametrize("behind_another", [False, True])
@pytest.mark.parametrize("template", URLS)
def test_a_program_behind_the_guard_proxy_reaches_nothing_of_ours(
    template: str, behind_another: bool, canary: Site
) -> None:
    target = template.replace("{port}", str(canary.port))
    upstream = Upstream(host="127.0.0.1", port=canary.port) if behind_another else None
    with guard_proxy(GuardedConnector(resolve=_resolve), upstream) as proxy:
        host, _, port = proxy.removeprefix("http://").partition(":")
        for request in (
            f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n",
            f"CONNECT {target.split('//')[-1].rstrip('/')} HTTP/1.1\r\n\r\n",
        ):
            with socket.create_connection((host, int(port)), timeout=3) as sock:
                sock.sendall(request.encode())
                answer = sock.recv(200)
            assert answer.split(b" ")[1:2] in ([b"403"], [b"400"], [b"502"])

    assert canary.requests == []


def test_a_name_that_changes_between_check_and_connect_changes_nothing(canary: Site) -> None:
    asked: list[str] = []

    def rebinding(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        return ["192.0.78.24"] if len(asked) == 1 else ["127.0.0.1"]  # public at first, ours from then on

    connector = GuardedConnector(resolve=rebinding)
    with pytest.raises(DownloadFailure):
        _fetch(f"http://rebinding.example.com:{canary.port}/", connector=connector)

    assert asked == ["rebinding.example.com"]
    assert canary.requests == []


def test_a_name_that_changes_between_two_hops_is_refused_at_the_second(canary: Site) -> None:
    answers = iter([["127.0.0.1"]])

    def resolver(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"] if host == "localhost" else next(answers)

    connector = GuardedConnector(allow_loopback=True, resolve=resolver)
    location = f"http://second.example.com:{canary.port}/"
    redirect = Reply(status=302, headers={"Location": location})
    with site(lambda _path: redirect) as redirector, pytest.raises(DownloadFailure) as caught:
        _fetch(f"http://localhost:{redirector.port}/", connector=connector)

    assert caught.value.problem is DownloadProblem.FORBIDDEN_ADDRESS
    assert canary.requests == []


def test_endless_redirects_end() -> None:
    redirect = Reply(status=302, headers={"Location": "/again"})
    with site(lambda _path: redirect) as looping, pytest.raises(DownloadFailure) as caught:
        _fetch(looping.url(), connector=GuardedConnector(allow_loopback=True))

    assert caught.value.problem is DownloadProblem.BROKEN
    assert len(looping.requests) == 6


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (Reply(body=b"x" * 1_000_001), DownloadProblem.TOO_LARGE),
        (Reply(body=b"x" * 1_500_000, claims_bytes=-1), DownloadProblem.TOO_LARGE),
        (Reply(body=b"x" * 100, claims_bytes=1_000), DownloadProblem.BROKEN),
        (Reply(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"}), DownloadProblem.BROKEN),
        (Reply(status=404), DownloadProblem.NOT_FOUND),
        (Reply(status=403), DownloadProblem.FORBIDDEN),
        (Reply(status=429), DownloadProblem.BLOCKED),
        (Reply(status=503), DownloadProblem.BROKEN),
    ],
)
def test_what_cannot_be_fetched_is_told_apart(reply: Reply, problem: DownloadProblem) -> None:
    with site(lambda _path: reply) as running, pytest.raises(DownloadFailure) as caught:
        _fetch(running.url(), connector=GuardedConnector(allow_loopback=True))

    assert caught.value.problem is problem


def test_a_server_that_dawdles_is_given_up_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(DownloadFailure) as caught:
        _fetch(f"http://127.0.0.1:{silent.getsockname()[1]}/", connector=GuardedConnector(allow_loopback=True))

    assert caught.value.problem is DownloadProblem.TIMEOUT


def test_a_program_behind_the_guard_proxy_gets_what_it_may(canary: Site) -> None:
    with guard_proxy(GuardedConnector(allow_loopback=True)) as proxy:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": proxy}))
        with opener.open(f"http://localhost:{canary.port}/file", timeout=5) as answer:
            assert answer.read() == b"secret"

    assert canary.requests == [("GET", "/file")]


def test_what_is_allowed_goes_through_the_deployments_own_proxy(canary: Site) -> None:
    connector = GuardedConnector(allow_loopback=True)
    with guard_proxy(connector) as theirs, guard_proxy(connector, Upstream.parse(theirs)) as ours:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": ours}))
        with opener.open(f"http://localhost:{canary.port}/file", timeout=5) as answer:
            assert answer.read() == b"secret"
        host, _, port = ours.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=5) as sock:
            sock.sendall(f"CONNECT localhost:{canary.port} HTTP/1.1\r\n\r\n".encode())
            assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
            sock.sendall(b"GET /tunnel HTTP/1.0\r\n\r\n")
            assert sock.makefile("rb").read().endswith(b"secret")

    assert canary.requests == [("GET", "/file"), ("GET", "/tunnel")]


@pytest.mark.parametrize("request_line", ["CONNECT localhost:1 HTTP/1.1", "GET http://localhost:1/ HTTP/1.1"])
def test_the_deployments_own_proxy_gets_its_password(request_line: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        upstream = Upstream.parse(f"http://us%40er:pass@127.0.0.1:{theirs.getsockname()[1]}")
        with guard_proxy(GuardedConnector(allow_loopback=True), upstream) as ours:
            host, _, port = ours.removeprefix("http://").partition(":")
            with socket.create_connection((host, int(port)), timeout=5) as sock:
                sock.sendall(f"{request_line}\r\nProxy-Authorization: Basic AAAA\r\n\r\n".encode())
                with theirs.accept()[0] as accepted:
                    head = accepted.recv(4_096)
                    accepted.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")

    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"us@er:pass") in head
    assert b"AAAA" not in head
    assert "pass" not in repr(upstream)


@pytest.mark.parametrize("text", ["socks5://127.0.0.1:1080", "127.0.0.1:3128", "http://", "https://proxy.example.com"])
def test_a_proxy_that_is_none_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(ValueError, match="http://user:password@host:port"):
        Upstream.parse(text)
