"""The Modal half of a deployment: the app's settings, the app, its weights; all by Modal's own command.

The app takes its name and the name of its secret from the stage, so that stages in one Modal environment do not
overwrite each other.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.deploy.stages import CEILINGS

ROOT = Path(__file__).resolve().parents[2]
# Names of Modal secrets, as in modal_app.py: with HF_TOKEN, and with SOURCE_COOKIES and SOURCE_PROXY or neither.
HUB_SECRET, SOURCES_SECRET = "audiototext-hub", "audiototext-sources"
MODAL = (sys.executable, "-m", "modal")  # the client we pin
ANSWER_SECONDS = 60


class ModalFailed(Exception):
    """A command of Modal's failed; its own output says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModalLogin:
    """What Modal says to a token: ``refusal`` is None when it lets it in. ``secrets`` are the environment's."""

    refusal: str | None = None
    secrets: tuple[str, ...] = ()


def look(environment_name: str, token: Mapping[str, str] | None = None) -> ModalLogin:
    """Ask Modal for the secrets of an environment, with the token or as whoever is logged in here."""
    command = [*MODAL, "secret", "list", "--json", "--env", environment_name]
    environment = {**os.environ, **(token or {})}
    try:
        done = subprocess.run(  # noqa: S603 - the client we pin
            command, env=environment, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return ModalLogin(refusal=f"no answer within {ANSWER_SECONDS} seconds")
    if done.returncode:
        lines = [line.strip(" │╭╰─╮╯") for line in (done.stderr or done.stdout).splitlines()]
        return ModalLogin(refusal=" ".join(line for line in lines if line) or f"exit status {done.returncode}")
    rows = json.loads(done.stdout or "[]")
    return ModalLogin(secrets=tuple(str(row.get("Name") or row.get("name")) for row in rows))


def commands(
    parameters: Mapping[str, str], settings: Mapping[str, str], secrets: Collection[str] = (SOURCES_SECRET,)
) -> list[list[str]]:
    """What brings the app up or changes it, in order, where these secrets are there; each may be repeated."""
    app, where = parameters["ModalApp"], ["--env", parameters["ModalEnvironment"]]
    pairs = [f"{name}={value}" for name, value in sorted(settings.items()) if value]
    sources = [*MODAL, "secret", "create", *where, SOURCES_SECRET, "SOURCE_PROXY="]  # the operator fills it
    return [
        *([] if SOURCES_SECRET in secrets else [sources]),
        [*MODAL, "secret", "create", "--force", *where, app, *pairs],
        [*MODAL, "deploy", *where, "modal_app.py"],
        [*MODAL, "run", *where, "modal_app.py::fetch_weights"],
    ]


def deploy(
    parameters: Mapping[str, str],
    settings: Mapping[str, str],
    ceilings: Mapping[str, int],
    secrets: Collection[str] = (SOURCES_SECRET,),
) -> None:
    """Run them, with the stage's ceilings and no others: a shell's would hold only until the next deployment.

    Raises ModalFailed.
    """
    environment = {name: value for name, value in os.environ.items() if name not in CEILINGS}
    environment |= {"MODAL_APP": parameters["ModalApp"]} | {name: str(most) for name, most in ceilings.items()}
    for command in commands(parameters, settings, secrets):
        print(f"  modal {' '.join(command[3:5])} ...", flush=True)
        if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:  # noqa: S603 - see MODAL
            raise ModalFailed(
                f"modal {' '.join(command[3:5])} failed; what it printed above says why. The AWS side is up: when the "
                "cause is gone,  make deploy  goes on from here."
            )
