"""Which addresses on the internet we may connect to on a customer's word (the SSRF guard's rules).

Two checks, both needed: the URL when it is handed in (this module's ``parse_…_url``), and every address its name
resolves to at each connection (``is_public_address``, called by shared.adapters.pinned, which then connects to exactly
the address that was checked).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_URL_CHARS = 2_048
_SAFE_IN_PATH = "/%:@!$&'()*+,;=~-._?"  # RFC 3986 pchar, with what is already escaped
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
# WHATWG URL, "ends in a number": resolvers read such names as IPv4 addresses (0x7f.1, 2130706433, 0177.0.0.1).
_NUMERIC_LABEL = re.compile(r"\d+|0x[0-9a-f]*")
_PRIVATE_ENDINGS = ("localhost", "local", "internal", "lan", "home", "corp", "intranet", "home.arpa", "onion")

# IANA IPv4 Special-Purpose Address Registry: everything that is not globally reachable, and multicast.
_FORBIDDEN_V4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # public by its number, but inside Azure the host of the machine itself
        "169.254.0.0/16",  # link-local, with the clouds' metadata services
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")  # all that IANA has given out as global unicast
_FORBIDDEN_V6 = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: carries any IPv4 address
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address


class UnsafeUrl(ValueError):
    """The URL may not be connected to; the message says why, for the one who gave it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebUrl:
    """A URL taken apart, each part as it goes onto the wire. ``target`` is path and query."""

    scheme: str
    host: str  # lower-case ASCII; an IPv6 literal without brackets
    port: int
    target: str

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _default_port(self.scheme) else f"{host}:{self.port}"

    @property
    def text(self) -> str:
        """The URL as one string."""
        return f"{self.scheme}://{self.authority}{self.target}"


def parse_webhook_url(text: str, *, allow_loopback: bool = False) -> WebUrl:
    """The URL, if it may be called as far as can be told without resolving it. Raises UnsafeUrl.

    ``allow_loopback`` is for the local stack: http and https on loopback addresses become good.
    """
    url = _split(text, "https://")
    if allow_loopback and is_loopback_host(url.host):
        return url
    if url.scheme != "https":
        raise UnsafeUrl("it must start with https://.")
    if url.port != 443 and url.port < 1024:
        raise UnsafeUrl("its port must be 443 or at least 1024.")
    _check_public_host(url.host)
    return url


def parse_source_url(text: str, *, allow_loopback: bool = False) -> WebUrl:
    """The URL of a recording, if it may be fetched as far as can be told without resolving it. Raises UnsafeUrl.

    Plain http is good here: what is fetched is the customer's own choice, and nothing of ours is sent.
    """
    url = _split(text, "http:// or https://")
    if allow_loopback and is_loopback_host(url.host):
        return url
    if url.port not in {80, 443} and url.port < 1024:
        raise UnsafeUrl("its port must be 80, 443 or at least 1024.")
    _check_public_host(url.host)
    return url


def _check_public_host(host: str) -> None:
    address = literal_address(host)
    if address is not None and not is_public_address(address):
        raise UnsafeUrl("its address is not in the public internet.")
    if address is None:
        _check_public_name(host)


def literal_address(host: str) -> IpAddress | None:
    """The address that ``host`` spells out, or None when it is a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_loopback_host(host: str) -> bool:
    """True for ``localhost`` and spelled-out loopback addresses."""
    address = literal_address(host)
    return host == "localhost" if address is None else address.is_loopback


def is_public_address(address: IpAddress) -> bool:
    """True when the address is reachable by everybody, so that connecting to it reveals nothing of our network."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _FORBIDDEN_V4)
    if address.scope_id is not None:
        return False
    if address in _NAT64:
        return is_public_address(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    # Mapped (::ffff:0:0/96), compatible, unique local, link-local, multicast … all lie outside 2000::/3.
    return address in _GLOBAL_V6 and not any(address in network for network in _FORBIDDEN_V6)


def _split(text: str, wanted: str) -> WebUrl:
    if len(text) > MAX_URL_CHARS:
        raise UnsafeUrl(f"it is longer than {MAX_URL_CHARS} characters.")
    if re.search(r"[\x00-\x20\x7f-\xa0\\]", text):
        raise UnsafeUrl("it has spaces, control characters or backslashes in it.")
    try:
        parts = urlsplit(text)
        port = parts.port
        target = quote(parts.path or "/", safe=_SAFE_IN_PATH)
        query = quote(parts.query, safe=_SAFE_IN_PATH)
    except ValueError as error:
        raise UnsafeUrl("it is not a well-formed URL.") from error
    scheme = parts.scheme.lower()
    if scheme not in {"http", "https"} or not parts.hostname:
        raise UnsafeUrl(f"it must start with {wanted} and name a host.")
    if "@" in parts.netloc:
        raise UnsafeUrl("it must not carry a user name or password.")
    if port == 0:
        raise UnsafeUrl("its port must be 443 or at least 1024.")
    return WebUrl(
        scheme=scheme,
        host=_ascii_host(parts.hostname, bracketed="[" in parts.netloc),
        port=port or _default_port(scheme),
        target=f"{target}?{query}" if query else target,
    )


def _ascii_host(host: str, *, bracketed: bool) -> str:
    """The host as resolvers and certificates know it: lower-case ASCII, without a final dot."""
    if bracketed:
        try:
            address = ipaddress.IPv6Address(host)
        except ValueError as error:
            raise UnsafeUrl("its IPv6 address is malformed.") from error
        if address.scope_id is not None:
            raise UnsafeUrl("its address is not in the public internet.")
        return str(address)
    try:
        # The encoding also folds look-alikes (full-width digits, circled letters) into what they resolve to.
        name = host.encode("idna").decode("ascii").lower().removesuffix(".")
    except UnicodeError as error:
        raise UnsafeUrl("its host name is malformed.") from error
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise UnsafeUrl("its host name is malformed.")
    if _NUMERIC_LABEL.fullmatch(labels[-1]) and literal_address(name) is None:
        raise UnsafeUrl("its host is a number in a form that is not allowed.")
    return name


def _check_public_name(host: str) -> None:
    if "." not in host or host.endswith(tuple(f".{ending}" for ending in _PRIVATE_ENDINGS)):
        raise UnsafeUrl("its host name is not one of the public internet.")


def _default_port(scheme: str) -> int:
    return 443 if scheme == "https" else 80
