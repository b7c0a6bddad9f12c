"""Accounts: who pays."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from shared.adapters.dynamodb.accounts import AccountStore
from shared.domain.accounts import Account, check_name
from shared.domain.errors import NotFound
from shared.domain.ids import AccountId


class Accounts:
    """Opens accounts."""

    def __init__(self, store: AccountStore, now: Callable[[], datetime], new_id: Callable[[], str]) -> None:
        self._store = store
        self._now = now
        self._new_id = new_id

    def create(self, name: str) -> Account:
        """A new account with an empty balance. Raises InvalidRequest for a name that cannot be shown."""
        check_name(name)
        account = Account(account_id=AccountId(self._new_id()), name=name, created_at=self._now())
        self._store.create(account)
        return account

    def get(self, account_id: AccountId) -> Account:
        """The account. Raises NotFound."""
        account = self._store.get(account_id)
        if account is None:
            raise NotFound(f"There is no account {account_id}.")
        return account

    def exists(self, account_id: AccountId) -> bool:
        """Whether there is such an account."""
        return self._store.get(account_id) is not None

    def every(self) -> list[Account]:
        """Every account there is, oldest first. For the operator: it reads the whole table."""
        return sorted(self._store.every(), key=lambda account: (account.created_at, account.account_id))

    def set_submit_rate(self, account_id: AccountId, submits_per_minute: int | None) -> None:
        """How fast the account may submit; None: as fast as the deployment says. Raises NotFound."""
        self._store.set_submit_rate(account_id, submits_per_minute)

    def set_retention(self, account_id: AccountId, days: int | None) -> None:
        """For how long the account's jobs are kept that don't say themselves; None: as the deployment keeps them.

        Jobs from half a minute later on are kept so: processes look at accounts no more often. Raises NotFound.
        """
        self._store.set_retention(account_id, days)
