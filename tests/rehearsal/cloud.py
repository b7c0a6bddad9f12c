"""The local stack on a bad day: ``python -m tests.rehearsal.cloud``, with the arguments of ``python -m infra.local``.

Standard queues deliver at least once: here a part of the messages is delivered twice, with the same id, together or a
little apart. The queues' clock jumps with everybody's.
"""

from __future__ import annotations

import copy
import os
import sys
import threading
import time
import types
from pathlib import Path
from random import Random
from typing import Any

from infra.local import __main__ as command
from infra.local import moto_sqs
from tests.rehearsal.weather import Weather

FOLDER_VARIABLE = "REHEARSAL_FOLDER"
TWICE = 0.15
"""The part of all messages that is delivered twice."""

LONGEST_DELAY_SECONDS = 4.0


def main() -> int:
    """Run the stack until stopped."""
    weather = Weather(Path(os.environ[FOLDER_VARIABLE]))
    _queues_deliver_twice(weather, weather.chance("queues"))
    clock = types.SimpleNamespace(time=lambda: weather.now().timestamp(), monotonic=time.monotonic)
    moto_sqs.__dict__["time"] = clock
    return command.main()


def _queues_deliver_twice(weather: Weather, chance: Random) -> None:
    from infra.local import moto_fixes

    moto_fixes.import_cloudformation_quickly()  # before any part of moto, as the stack does
    import moto.sqs.models

    queue_class: Any = moto.sqs.models.Queue
    add, lock = queue_class.add_message, threading.Lock()

    def add_message(queue: Any, message: Any) -> None:
        add(queue, message)
        with lock:
            twice, delay_seconds = chance.random() < TWICE, chance.uniform(-1.0, LONGEST_DELAY_SECONDS)
        if twice and queue.dead_letter_queue is not None and not weather.is_calm:
            again = copy.copy(message)
            again._old_receipt_handles = []
            if delay_seconds > 0:
                again.delayed_until = (weather.now().timestamp() + delay_seconds) * 1000.0
            weather.count("SQS: message delivered twice")
            add(queue, again)

    queue_class.add_message = add_message


if __name__ == "__main__":
    sys.exit(main())
