"""The address guard's rules: what may be connected to on a customer's word."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.urls import MAX_URL_CHARS, UnsafeUrl, WebUrl, is_public_address, parse_source_url, parse_webhook_url

GOOD = {
    "https://example.com": "https://example.com/",
    "https://example.com/hook": "https://example.com/hook",
    "HTTPS://Example.COM./Hook?a=b&c=%20d#part": "https://example.com/Hook?a=b&c=%20d",
    "https://example.com:443/": "https://example.com/",
    "https://example.com:8443/x": "https://example.com:8443/x",
    "https://my_app.example.co.uk/": "https://my_app.example.co.uk/",
    "https://bücher.example/ü": "https://xn--bcher-kva.example/%C3%BC",
    "https://8.8.8.8/": "https://8.8.8.8/",
    "https://[2606:4700:4700::1111]:8443/x": "https://[2606:4700:4700::1111]:8443/x",
    "https://1password.com/": "https://1password.com/",
    "https://example.com?x=1": "https://example.com/?x=1",
    "https://example.com/a@b": "https://example.com/a@b",
}

BAD = [
    # schemes
    "", "example.com", "//example.com/", "http://example.com/", "ftp://example.com/", "file:///etc/passwd",
    "gopher://example.com/", "javascript:alert(1)", "data:text/plain,x", "https:/example.com", "https:example.com",
    "https://", "https:///path", "https://?x", "unix:///var/run/docker.sock", "ws://example.com/",
    # credentials
    "https://user:pass@example.com/", "https://user@example.com/", "https://@example.com/",
    "https://example.com@127.0.0.1/", "https://127.0.0.1#@example.com/", "https://example.com:80@10.0.0.1/",
    # ports
    "https://example.com:0/", "https://example.com:22/", "https://example.com:25/", "https://example.com:80/",
    "https://example.com:65536/", "https://example.com:-1/", "https://example.com:abc/", "https://example.com:4 43/",
    # whitespace, control characters, backslashes
    "https://exam ple.com/", "https://example.com/\n", "\thttps://example.com/", "https://example.com\\@127.0.0.1/",
    "https://example.com/\x00", "https://exa\tmple.com/", "https://example.com/\r\nX-Header: 1", "https://\u00a0x.com/",
    # names that are not of the public internet
    "https://localhost/", "https://LOCALHOST./", "https://a.localhost/", "https://intranet/", "https://metadata/",
    "https://metadata.google.internal/", "https://printer.local/", "https://router.home.arpa/", "https://a..b.com/",
    "https://-a.com/", "https://a-.com/", "https://" + "a" * 64 + ".com/", "https://" + "a." * 127 + "com/",
    "https://exa%6dple.com/", "https://example.com%2f@x.com/", "https://.example.com/", "https://./",
    # IPv4 that is not public, in every spelling
    "https://127.0.0.1/", "https://127.1/", "https://0x7f000001/", "https://0x7f.1/", "https://2130706433/",
    "https://0177.0.0.1/", "https://127.0.0.01/", "https://0/", "https://0.0.0.0/", "https://10.1.2.3/",
    "https://172.31.255.255/", "https://192.168.1.1/", "https://169.254.169.254/latest/meta-data/",
    "https://100.64.0.1/", "https://100.100.100.200/", "https://192.0.0.192/", "https://198.18.0.1/",
    "https://224.0.0.1/", "https://255.255.255.255/", "https://203.0.113.7/", "https://192.88.99.1/",
    "https://\uff11\uff12\uff17.0.0.1/", "https://\u2460\u2461\u2466.0.0.1/", "https://127\u30020.0.1/",
    "https://example.1/", "https://1.2.3.4.5/", "https://256.1.1.1/",
    # IPv6 that is not public
    "https://[::1]/", "https://[::]/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:8.8.8.8]/",
    "https://[::127.0.0.1]/", "https://[fe80::1]/", "https://[fe80::1%25eth0]/", "https://[fc00::1]/",
    "https://[fd00:ec2::254]/", "https://[ff02::1]/", "https://[2001:db8::1]/", "https://[2002:7f00:1::]/",
    "https://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/", "https://[64:ff9b::7f00:1]/", "https://[64:ff9b:1::1]/",
    "https://[100::1]/", "https://[fec0::1]/", "https://[3fff::1]/", "https://[5f00::1]/", "https://[::1",
    "https://[v1.x]/", "https://[127.0.0.1]/",
    # length
    "https://example.com/" + "a" * MAX_URL_CHARS,
]  # fmt: skip


@pytest.mark.parametrize(("text", "normal"), GOOD.items())
def test_a_public_https_url_is_taken_in_its_normal_form(text: str, normal: str) -> None:
    assert parse_webhook_url(text).text == normal


@pytest.mark.parametrize("text", BAD)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(UnsafeUrl):
        parse_webhook_url(text)


@pytest.mark.parametrize(
    "text",
    ["http://127.0.0.1:8080/x", "http://localhost/x", "http://[::1]:9/x", "https://127.0.0.1:1/", "http://127.9.9.9/"],
)
def test_loopback_is_taken_only_where_it_is_allowed(text: str) -> None:
    assert parse_webhook_url(text, allow_loopback=True).host in text
    with pytest.raises(UnsafeUrl):
        parse_webhook_url(text)


@pytest.mark.parametrize(
    ("parse", "wanted"),
    [(parse_webhook_url, "start with https://"), (parse_source_url, "start with http:// or https://")],
)
def test_a_scheme_that_is_not_taken_is_answered_with_those_that_are(
    parse: Callable[[str], WebUrl], wanted: str
) -> None:
    for text in ("ftp://example.com/a.mp3", "file:///etc/passwd"):
        with pytest.raises(UnsafeUrl, match=f"it must {wanted} and name a host"):
            parse(text)


@pytest.mark.parametrize("text", ["http://example.com/", "http://10.0.0.1/", "https://192.168.0.1/", "http://127.1/"])
def test_allowing_loopback_allows_nothing_else(text: str) -> None:
    with pytest.raises(UnsafeUrl):
        parse_webhook_url(text, allow_loopback=True)


@given(st.text(max_size=80) | st.builds("https://{}".format, st.text(max_size=80)))
def test_any_text_is_taken_or_refused_and_what_is_taken_is_stable(text: str) -> None:
    try:
        url = parse_webhook_url(text)
    except UnsafeUrl:
        return
    assert parse_webhook_url(url.text) == url
    assert url.text.isascii()


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_public_only_if_the_standard_library_thinks_so_too(address: ipaddress.IPv4Address) -> None:
    if is_public_address(address):
        assert address.is_global
        assert not address.is_multicast


@given(st.ip_addresses(v=6) | st.ip_addresses(network="2000::/3"))
def test_an_ipv6_address_is_public_only_if_the_standard_library_thinks_so_too(address: ipaddress.IPv6Address) -> None:
    if is_public_address(address) and address not in ipaddress.IPv6Network("64:ff9b::/96"):
        assert address.is_global
        assert address.ipv4_mapped is None
        assert address.sixtofour is None
        assert address.teredo is None


@given(st.ip_addresses(v=4))
def test_a_translated_address_is_as_public_as_the_one_inside(address: ipaddress.IPv4Address) -> None:
    translated = ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) + int(address))
    assert is_public_address(translated) == is_public_address(address)
