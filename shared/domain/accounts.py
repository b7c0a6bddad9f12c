"""Accounts and the API keys that speak for them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import zlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shared.domain.errors import Forbidden, InvalidRequest
from shared.domain.ids import AccountId, KeyId

KEY_PREFIX = "att_"
MAX_NAME_CHARS = 100
_KEY_PATTERN = re.compile(rf"{KEY_PREFIX}[A-Za-z0-9_-]{{43}}[0-9a-f]{{8}}")


class Scope(StrEnum):
    """What a key may do."""

    TRANSCRIBE = "transcribe"
    READ = "read"
    MANAGE = "manage"


ALL_SCOPES = frozenset(Scope)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Somebody who pays. The balance lives in the same item but is a value of its own (credits.Balance)."""

    account_id: AccountId
    name: str
    created_at: datetime
    submits_per_minute: int | None = None  # None: the deployment's
    retention_days: int | None = None  # of jobs that don't say; None: as long as the deployment keeps anything


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as we keep it: never the key itself, only its hash.

    ``daily_limit_millicredits`` is what may be spent with it in one day (UTC), holds included; None: no limit.
    """

    key_hash: str
    key_id: KeyId
    account_id: AccountId
    name: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    daily_limit_millicredits: int | None = None
    rotated_to: KeyId | None = None

    def is_live(self, now: datetime) -> bool:
        """True while the key is neither revoked nor expired."""
        return (self.revoked_at is None or now < self.revoked_at) and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who is asking: the account, the key and what it may do."""

    account_id: AccountId
    key_id: KeyId
    scopes: frozenset[Scope] = ALL_SCOPES
    daily_limit_millicredits: int | None = None

    def require(self, scope: Scope) -> None:
        """Raise Forbidden unless the key has this scope."""
        if scope not in self.scopes:
            raise Forbidden(f"This API key lacks the scope '{scope}'.")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyWish:
    """What a key is to be."""

    name: str
    scopes: frozenset[Scope] = ALL_SCOPES
    expires_at: datetime | None = None
    daily_limit_millicredits: int | None = None

    def check(self, now: datetime) -> None:
        """Raise InvalidRequest naming the field that cannot be."""
        check_name(self.name)
        if not self.scopes:
            raise InvalidRequest("A key needs at least one scope.", field="scopes")
        if self.expires_at is not None and self.expires_at <= now:
            raise InvalidRequest("'expires_at' lies in the past.", field="expires_at")


def check_name(name: str) -> None:
    """Raise InvalidRequest unless this can be the name of an account or a key."""
    if not 1 <= len(name) <= MAX_NAME_CHARS or not name.isprintable() or name.strip() != name:
        raise InvalidRequest(f"'name' must be 1 to {MAX_NAME_CHARS} printable characters.", field="name")


def derive_key_random(caller_secret: str, salt: str) -> str:
    """The 43 random characters of a key made under an Idempotency-Key.

    HMAC-SHA256 of a stored random salt under the caller's own key, which we do not store: the same caller gets the
    same key on a replay, and nobody can compute it from our tables.
    """
    digest = hmac.digest(caller_secret.encode(), f"new key {salt}".encode(), "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def make_key_secret(random_43: str) -> str:
    """The key shown once to its owner: prefix, 256 random bits as 43 url-safe characters, CRC-32 of both.

    The checksum lets a typo be refused without a table read and lets secret scanners recognise a real key.
    """
    body = KEY_PREFIX + random_43
    return f"{body}{zlib.crc32(body.encode()):08x}"


def is_well_formed_key(secret: str) -> bool:
    """True when ``secret`` has the form and the checksum of a key of ours."""
    return _KEY_PATTERN.fullmatch(secret) is not None and secret == make_key_secret(secret[len(KEY_PREFIX) : -8])


def hash_key(secret: str) -> str:
    """SHA-256 in hex. Enough for 256 random bits: there is nothing to guess, so no salt and no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()
