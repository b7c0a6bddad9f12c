"""Every point at which the processes of a job can die: ``python -m tests.benchmarks.crash_points``.

One line per AWS call from submit to completion; one column per fault. tests/integration/test_crash_points.py holds what
this prints: completed and charged once, or failed and not charged, nothing held.
"""

from __future__ import annotations

import logging

from shared.domain.amounts import format_credits
from shared.settings import Settings
from tests.integration.conftest import template_in_moto
from tests.integration.crashes import CRASH_POINTS, Story, fresh_clients
from tests.property.world import Fault

GRANTED_MILLICREDITS = 100_000


def outcome(settings: Settings, number: int, fault: Fault) -> str:
    """What became of a job whose ``number``-th call met this fault, once retries and the sweeper had their turn."""
    story = Story(settings)
    story.faults.plan(fault, number)
    job = story.tell()
    services = story.observer()
    balance = services.credits.balance(story.account_id)
    assert services.credits.verify(story.account_id).open_holds == {}
    charged = GRANTED_MILLICREDITS - balance.available_millicredits
    held = f", {format_credits(balance.held_millicredits)} HELD" if balance.held_millicredits else ""
    return f"{job.state}, {format_credits(charged)} charged{held}"


def main() -> None:
    """Print the table."""
    logging.disable(logging.CRITICAL)
    print(f"{'':4}{'by':10}{'call':22}{'what for':64}" + "".join(f"{fault:24}" for fault in Fault))
    with template_in_moto() as cloud, fresh_clients():
        settings = cloud.services("SweepFunction").settings
        for number, (process, call, what_for) in enumerate(CRASH_POINTS):
            outcomes = "".join(f"{outcome(settings, number, fault):24}" for fault in Fault)
            print(f"{number + 1:<4}{process:10}{call:22}{what_for:64}{outcomes}", flush=True)
    print(f"{len(CRASH_POINTS)} calls, {len(Fault)} faults each; every ledger verified, nothing held")


if __name__ == "__main__":
    main()
