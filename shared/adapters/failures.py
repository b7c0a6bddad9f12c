"""What a call to AWS raises when it did not work, for those above who only need to know that."""

from __future__ import annotations

from botocore.exceptions import BotoCoreError, ClientError

AWS_FAILURES = (ClientError, BotoCoreError)
