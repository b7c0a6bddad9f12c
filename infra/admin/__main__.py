"""``audiototext-admin``: accounts, credits, keys and the ledger, for whoever runs the service.

Exit status 0 when it worked, 1 when it did not or a ledger does not add up, 2 for wrong arguments.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

from infra.admin import commands, cost, jobs
from infra.admin.show import Shown, show
from infra.admin.target import NoTarget, settings_of
from shared.adapters.dynamodb.transactions import TooMuchContention
from shared.bootstrap import Services, bootstrap
from shared.domain.accounts import Scope
from shared.domain.amounts import MILLICREDITS_PER_CREDIT
from shared.domain.credits import LIMIT_MILLICREDITS, Overdrawn
from shared.domain.errors import AudioToTextError

MOST_LINES = 1_000  # what one read of the ledger brings, with room to spare
Command = Callable[[Services, argparse.Namespace], Shown]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    options = _parser().parse_args(arguments)
    console, errors = Console(highlight=False, emoji=False, markup=False), Console(stderr=True, highlight=False)
    if "offline" in options:
        show(console, options.offline(options), as_json=options.json)
        return 0
    try:
        services = bootstrap(settings_of(ready_file=options.ready_file, stack=options.stack))
        command: Command = options.command
        shown = command(services, options)
    except (NoTarget, AudioToTextError, Overdrawn, ValueError, TooMuchContention) as error:
        errors.print(str(error), style="bold red", markup=False)
        return 1
    except (BotoCoreError, ClientError) as error:
        errors.print(f"AWS: {error}", style="bold red", markup=False)
        return 1
    show(console, shown, as_json=options.json)
    return 1 if shown.failed else 0


def credits_argument(text: str) -> int:
    """Credits as typed ("12.5") in milli-credits: positive, at most three decimals."""
    try:
        amount = Decimal(text) * MILLICREDITS_PER_CREDIT
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"{text!r} is no amount of credits") from None
    if not amount.is_finite() or amount != amount.to_integral_value() or not 0 < amount <= LIMIT_MILLICREDITS:
        raise argparse.ArgumentTypeError(f"{text!r}: a positive amount of credits, with at most three decimals")
    return int(amount)


def time_argument(text: str) -> datetime:
    """A time as RFC 3339 or a date; without a zone it is UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time like 2027-01-31 or 2027-01-31T12:00:00Z") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def scope_argument(text: str) -> Scope:
    """A scope by its name."""
    try:
        return Scope(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no scope; there are {', '.join(Scope)}") from None


def count_argument(text: str) -> int:
    """How many lines to show."""
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= MOST_LINES:
        raise argparse.ArgumentTypeError(f"{text!r}: a number from 1 to {MOST_LINES}")
    return int(text)


def _rate_argument(text: str) -> int | None:
    if text == "default":
        return None
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r}: a number from 1 to 1000000, or 'default'")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="audiototext-admin", description="Run the service: accounts, credits, keys.")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--stack", metavar="NAME", help="the deployed CloudFormation stack")
    where.add_argument("--ready-file", metavar="FILE", help="the ready file of a running local stack")
    _add_json(parser, default=False)
    nouns = parser.add_subparsers(title="what", required=True, metavar="WHAT")
    _add_account(_noun(nouns, "account", "open and look at accounts"))
    _add_credits(_noun(nouns, "credits", "grant and expire credits"))
    _add_keys(_noun(nouns, "keys", "make and revoke API keys"))
    _add_ledger(_noun(nouns, "ledger", "look at and verify the ledger"))
    _noun(nouns, "job", "look at what a job left").add("parts", jobs.show_parts, "job_id")
    estimate = nouns.add_parser("cost", help="what an hour of audio costs to run", description=cost.cost.__doc__)
    estimate.add_argument(
        "--speed", action="append", type=cost.speed_argument, metavar="GPU=X", help="as you measured it"
    )
    _add_json(estimate)
    estimate.set_defaults(offline=cost.cost)
    return parser


def _add_json(parser: argparse.ArgumentParser, default: bool | str = argparse.SUPPRESS) -> None:
    """Before the command or after it: after it, one that is not there must not undo one before."""
    parser.add_argument("--json", action="store_true", default=default, help="JSON instead of tables")


def _noun(nouns: argparse._SubParsersAction[argparse.ArgumentParser], name: str, about: str) -> _Verbs:
    verbs = nouns.add_parser(name, help=about, description=about).add_subparsers(required=True, metavar="DO")
    return _Verbs(verbs)


class _Verbs:
    """The verbs of one noun."""

    def __init__(self, verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
        self._verbs = verbs

    def add(self, name: str, command: Command, *positional: str) -> argparse.ArgumentParser:
        """A verb with its positional arguments; its help is the command's docstring."""
        about = (command.__doc__ or "").strip()
        parser = self._verbs.add_parser(name, help=about, description=about)
        _add_json(parser)
        for argument in positional:
            parser.add_argument(argument)
        parser.set_defaults(command=command)
        return parser


def _add_account(verbs: _Verbs) -> None:
    verbs.add("create", commands.create_account, "name")
    verbs.add("list", commands.list_accounts)
    verbs.add("show", commands.show_account, "account_id")
    rate = verbs.add("rate", commands.set_rate, "account_id")
    rate.add_argument("per_minute", type=_rate_argument, help="submissions a minute, or 'default'")


def _add_credits(verbs: _Verbs) -> None:
    for name, command in (("grant", commands.grant), ("expire", commands.expire)):
        verb = verbs.add(name, command, "account_id")
        verb.add_argument("amount", type=credits_argument, help="credits, e.g. 12.5")
        verb.add_argument("--note", default="", help="kept in the ledger")
        verb.add_argument("--id", help="a name for this posting; the same again changes nothing")


def _add_keys(verbs: _Verbs) -> None:
    create = verbs.add("create", commands.create_key, "account_id", "name")
    create.add_argument(
        "--scope",
        action="append",
        type=scope_argument,
        metavar="SCOPE",
        help=f"{', '.join(Scope)}; again for more, all by default",
    )
    create.add_argument("--expires", type=time_argument, help="when it ends, e.g. 2027-01-31")
    create.add_argument("--daily-limit", type=credits_argument, help="credits it may spend in a day (UTC)")
    verbs.add("list", commands.list_keys, "account_id")
    verbs.add("revoke", commands.revoke_key, "account_id", "key_id")


def _add_ledger(verbs: _Verbs) -> None:
    verbs.add("show", commands.show_ledger, "account_id").add_argument(
        "--limit", type=count_argument, default=50, help="how many, 50 when left out"
    )
    verify = verbs.add("verify", commands.verify_ledger)
    which = verify.add_mutually_exclusive_group(required=True)
    which.add_argument("account_id", nargs="?")
    which.add_argument("--all", action="store_true", help="every account")


if __name__ == "__main__":
    sys.exit(main())
