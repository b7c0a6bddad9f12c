"""Keys: who is asking, and the keys an account's owner makes, rotates and revokes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.adapters.dynamodb.accounts import KEY_WRITE, RETIRED_KEY_WRITE, KeyStore
from shared.adapters.dynamodb.transactions import Refused, Write
from shared.adapters.failures import AWS_FAILURES
from shared.domain.accounts import (
    ALL_SCOPES,
    ApiKey,
    KeyWish,
    Principal,
    Scope,
    derive_key_random,
    hash_key,
    is_well_formed_key,
    make_key_secret,
)
from shared.domain.errors import Conflict, NotFound, Unauthorized
from shared.domain.idempotency import Answer
from shared.domain.ids import AccountId, KeyId
from shared.services.requests import Once, Requests, Turn, check_claim

CACHE_SECONDS = 30.0  # a revoked key dies at the latest this much later
CACHE_SIZE = 10_000
USE_NOTED_EVERY = timedelta(minutes=1)
MAX_HEADER_CHARS = 256
MAX_LIVE_KEYS = 100
MAX_GRACE = timedelta(days=7)
DEFAULT_GRACE = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPorts:
    """Everything outside that keys touch."""

    store: KeyStore
    requests: Requests
    now: Callable[[], datetime]
    new_id: Callable[[], str]
    random_token: Callable[[], str]
    monotonic: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A principal with the key it showed, which is in memory for this one request."""

    principal: Principal
    secret: str
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeKey:
    """The answer about a new key, without its secret, and the secret beside it."""

    answer: Answer
    secret: str
    replayed: bool = False


Render = Callable[[ApiKey], Answer]


class Keys:
    """Makes, checks and revokes API keys. A secret is returned to who asked for the key, and never stored."""

    def __init__(self, ports: KeyPorts) -> None:
        self._ports = ports
        self._cache: dict[str, tuple[float, ApiKey]] = {}

    # ---- who is asking ---------------------------------------------------------------------------------------------

    def authenticate(self, authorization: str | None) -> Principal:
        """Who sent this Authorization header. Raises Unauthorized, always with the same words.

        One GetItem, and none while the key is in this process's cache (30 s at most).
        """
        secret = bearer_secret(authorization)
        if secret is None or not is_well_formed_key(secret):
            raise Unauthorized
        key = self._find(hash_key(secret))
        if key is None or not key.is_live(self._ports.now()):
            raise Unauthorized
        return Principal(
            account_id=key.account_id,
            key_id=key.key_id,
            scopes=key.scopes,
            daily_limit_millicredits=key.daily_limit_millicredits,
        )

    # ---- what an account's owner does ------------------------------------------------------------------------------

    def create(
        self,
        account_id: AccountId,
        name: str,
        *,
        scopes: frozenset[Scope] = ALL_SCOPES,
        expires_at: datetime | None = None,
        daily_limit_millicredits: int | None = None,
    ) -> tuple[ApiKey, str]:
        """A new key and its secret, which nobody can ever read again. Raises InvalidRequest."""
        wish = KeyWish(
            name=name, scopes=scopes, expires_at=expires_at, daily_limit_millicredits=daily_limit_millicredits
        )
        wish.check(self._ports.now())
        secret = make_key_secret(self._ports.random_token())
        key = self._new_key(account_id, wish, secret)
        self._put(key, ())
        return key, secret

    def create_for(self, caller: Caller, wish: KeyWish, render: Render) -> MadeKey:
        """A new key for the caller's account. Raises InvalidRequest, Conflict, IdempotencyKeyReused."""
        account_id = caller.principal.account_id

        def carry_out(secret: str) -> tuple[ApiKey, tuple[Write, ...]]:
            wish.check(self._ports.now())  # here: a replay is answered even when its expiry has passed since
            self._check_room(account_id)
            return self._new_key(account_id, wish, secret), ()

        expires_at = wish.expires_at and wish.expires_at.isoformat()
        content = asdict(wish) | {"scopes": sorted(wish.scopes), "expires_at": expires_at}
        return self._once(caller, "create key", content, carry_out, render)

    def rotate(self, caller: Caller, key_id: str, grace: timedelta, render: Render) -> MadeKey:
        """A new key in the place of an old one, which goes on working for ``grace``.

        Raises NotFound, and Conflict for a key that is revoked, expired or was rotated before.
        """
        account_id = caller.principal.account_id
        retired: list[str] = []

        def carry_out(secret: str) -> tuple[ApiKey, tuple[Write, ...]]:
            old, now = self.find(account_id, key_id), self._ports.now()
            if not old.is_live(now) or old.rotated_to is not None:
                raise Conflict("This API key was revoked, rotated or has expired: it cannot be rotated.")
            self._check_room(account_id)
            wish = KeyWish(
                name=old.name,
                scopes=old.scopes,
                expires_at=old.expires_at,
                daily_limit_millicredits=old.daily_limit_millicredits,
            )
            new = self._new_key(account_id, wish, secret)
            ends_at = min(now + grace, old.revoked_at or now + grace)
            retired.append(old.key_hash)
            return new, (self._ports.store.retirement(old, rotated_to=new.key_id, at=ends_at),)

        content = {"key_id": key_id, "grace_seconds": grace.total_seconds()}
        made = self._once(caller, "rotate key", content, carry_out, render)
        for key_hash in retired:  # only now: a request in between would have brought the old key back in
            self._cache.pop(key_hash, None)
        return made

    def revoke(self, key: ApiKey) -> None:
        """The key stops working at once here, within 30 s elsewhere. Revoking again changes nothing."""
        self._ports.store.revoke(key.key_hash, self._ports.now())
        self._cache.pop(key.key_hash, None)

    def of_account(self, account_id: AccountId) -> list[ApiKey]:
        """The account's keys, oldest first."""
        return self._ports.store.of_account(account_id)

    def find(self, account_id: AccountId, key_id: str) -> ApiKey:
        """The account's key with this id. Raises NotFound, for another account's key too."""
        for key in self.of_account(account_id):
            if key.key_id == key_id:
                return key
        raise NotFound("There is no API key with this id.")

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _once(
        self,
        caller: Caller,
        operation: str,
        content: Mapping[str, Any],
        carry_out: Callable[[str], tuple[ApiKey, tuple[Write, ...]]],
        render: Render,
    ) -> MadeKey:
        """Make a key once per Idempotency-Key.

        With one, the new secret is derived from the caller's and a random salt in the record: a replay can give it
        again although it is stored nowhere.
        """
        principal, chosen = caller.principal, self._ports.random_token()
        secret = make_key_secret(chosen) if caller.idempotency_key is None else _derived_secret(caller, chosen)

        def effect(turn: Turn) -> Answer:
            key, writes = carry_out(secret)
            answer = render(key)
            self._put(key, (*writes, *turn.writes(answer)))
            return answer

        once = Once(
            account_id=principal.account_id,
            idempotency_key=caller.idempotency_key,
            operation=operation,
            content={"caller": principal.key_id} | dict(content),
        )
        answered = self._ports.requests.carry_out(once, effect, recall=chosen)
        if answered.replayed:
            secret = _derived_secret(caller, answered.recall)
        return MadeKey(answer=answered.answer, secret=secret, replayed=answered.replayed)

    def _put(self, key: ApiKey, also: tuple[Write, ...]) -> None:
        """Store a key with ``also``. Raises Conflict when the key it replaces moved on, ClaimLost for a lost claim."""
        try:
            self._ports.store.put(key, also)
        except Refused as error:
            if KEY_WRITE in error.refused and self._ports.store.get(key.key_hash) == key:
                return  # our own write, sent again after its answer was lost
            check_claim(error)
            if RETIRED_KEY_WRITE in error.refused:
                raise Conflict("This API key was revoked or rotated in this moment.") from error
            raise

    def _new_key(self, account_id: AccountId, wish: KeyWish, secret: str) -> ApiKey:
        return ApiKey(
            key_hash=hash_key(secret),
            key_id=KeyId(self._ports.new_id()),
            account_id=account_id,
            name=wish.name,
            scopes=wish.scopes,
            created_at=self._ports.now(),
            expires_at=wish.expires_at,
            daily_limit_millicredits=wish.daily_limit_millicredits,
        )

    def _check_room(self, account_id: AccountId) -> None:
        now = self._ports.now()
        if sum(key.is_live(now) for key in self.of_account(account_id)) >= MAX_LIVE_KEYS:
            raise Conflict(f"An account has at most {MAX_LIVE_KEYS} live API keys. Revoke one first.")

    def _find(self, key_hash: str) -> ApiKey | None:
        asked_at = self._ports.monotonic()
        cached = self._cache.get(key_hash)
        if cached is not None and asked_at - cached[0] < CACHE_SECONDS:
            return cached[1]
        key = self._ports.store.get(key_hash)
        self._cache.pop(key_hash, None)
        if key is not None:
            if len(self._cache) >= CACHE_SIZE:
                self._cache.clear()
            self._cache[key_hash] = (asked_at, key)
            self._note_use(key)
        return key

    def _note_use(self, key: ApiKey) -> None:
        """Only where the key was just read, so that a cached one costs no call."""
        now = self._ports.now()
        if not key.is_live(now) or (key.last_used_at and now - key.last_used_at < USE_NOTED_EVERY):
            return
        with contextlib.suppress(*AWS_FAILURES):  # nobody is kept out because a note could not be taken
            self._ports.store.note_use(key.key_hash, now, unless_since=now - USE_NOTED_EVERY)


def bearer_secret(authorization: str | None) -> str | None:
    """The key in an Authorization header; None when there is no bearer scheme (in any case of letters)."""
    if authorization is None or len(authorization) > MAX_HEADER_CHARS:
        return None
    scheme, _, secret = authorization.strip(" ").partition(" ")
    return secret.strip(" ") if scheme.lower() == "bearer" else None


def _derived_secret(caller: Caller, salt: str) -> str:
    return make_key_secret(derive_key_random(caller.secret, salt))
