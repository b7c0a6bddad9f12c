"""How a run on Modal gets into AWS with no stored secret: Modal's identity token, lent to botocore.

Modal gives each container a signed token that names workspace, environment and app; AWS's STS trades it for credentials
of the stack's ModalRole, whose trust names the same. botocore does the trade, and does it again before they expire, if
it finds the token in a file.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

TOKEN = "MODAL_IDENTITY_TOKEN"  # noqa: S105 - the name of a variable
TOKEN_FILE = "MODAL_IDENTITY_TOKEN_FILE"  # noqa: S105 - of a file that Modal renews, where it gives one
ROLE = "AWS_ROLE_ARN"


def lend_identity(environment: MutableMapping[str, str], folder: Path) -> bool:
    """Have the token where botocore reads it and tell botocore so; whether there was a token and a role to assume.

    A token lives for two days: a container may live longer, and then needs the file that Modal renews.
    Call it at the start of each run, never while an image or a snapshot is made: the token belongs to one container.
    """
    token = environment.get(TOKEN)
    if not token or not environment.get(ROLE):
        return False
    environment.setdefault("AWS_ROLE_SESSION_NAME", "audiototext")
    if (renewed := environment.get(TOKEN_FILE)) and Path(renewed).is_file():
        environment["AWS_WEB_IDENTITY_TOKEN_FILE"] = renewed
        return True
    file, fresh = folder / "modal-identity-token", folder / "modal-identity-token.new"
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        stream.write(token)
    fresh.replace(file)  # botocore may be reading the old one
    environment["AWS_WEB_IDENTITY_TOKEN_FILE"] = str(file)
    return True
