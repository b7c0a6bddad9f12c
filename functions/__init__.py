"""Entry points: the HTTP API and the functions behind queues and schedules."""

import gc
import os

if "AWS_LAMBDA_RUNTIME_API" in os.environ:
    # Imports make hundreds of thousands of objects that all stay. Looking them through for garbage after every 700 is a
    # seventh of a cold start; collection goes on afterwards, just less often.
    gc.set_threshold(50_000, 20, 100)
