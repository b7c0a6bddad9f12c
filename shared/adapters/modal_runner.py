"""The runner for production: spawns a function of the deployed Modal app."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from shared.domain.ids import AttemptId, JobId

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

FUNCTION = "run_job"


class ModalRunner:
    """Spawns ``run_job(job_id, attempt_id)`` on Modal. Ids only: larger arguments take a detour over blob storage."""

    def __init__(self, app: str, secrets: SecretsManagerClient | None, token_secret_arn: str | None) -> None:
        self._app = app
        self._secrets = secrets
        self._token_secret_arn = token_secret_arn

    def start(self, job_id: JobId, attempt_id: AttemptId) -> None:
        """Spawn the run. Spawning twice is harmless: the second run finds the attempt taken."""
        self._log_in()
        import modal  # 0.5 s and 33 MB: only where a job is really started on Modal

        modal.Function.from_name(self._app, FUNCTION).spawn(job_id, attempt_id)

    def _log_in(self) -> None:
        """Read the token once per container; modal takes it from the environment."""
        if "MODAL_TOKEN_ID" in os.environ or self._secrets is None or self._token_secret_arn is None:
            return
        token = json.loads(self._secrets.get_secret_value(SecretId=self._token_secret_arn)["SecretString"])
        os.environ["MODAL_TOKEN_ID"] = token["MODAL_TOKEN_ID"]
        os.environ["MODAL_TOKEN_SECRET"] = token["MODAL_TOKEN_SECRET"]
