"""Modal's token becomes AWS credentials of the stack's role: through botocore's own provider and moto's STS."""

from __future__ import annotations

import stat
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from shared.adapters.modal_identity import lend_identity

ROLE_ARN = "arn:aws:iam::123456789012:role/audiototext-dev-ModalRole"
OURS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ROLE_SESSION_NAME")


def test_botocore_trades_the_token_for_the_roles_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with mock_aws(), monkeypatch.context() as patched:
        for name in OURS:  # moto sets some
            patched.delenv(name, raising=False)
        environment = {"MODAL_IDENTITY_TOKEN": "header.payload.signature", "AWS_ROLE_ARN": ROLE_ARN}
        assert lend_identity(environment, tmp_path)
        for name, value in environment.items():
            patched.setenv(name, value)
        session = boto3.Session(region_name="us-east-1")
        credentials = session.get_credentials()
        assert credentials is not None
        assert credentials.method == "assume-role-with-web-identity"
        assert session.client("sts").get_caller_identity()["Arn"].endswith("audiototext-dev-ModalRole/audiototext")


def test_nobody_else_can_read_the_token(tmp_path: Path) -> None:
    environment = {"MODAL_IDENTITY_TOKEN": "token", "AWS_ROLE_ARN": ROLE_ARN}
    lend_identity(environment, tmp_path)
    file = Path(environment["AWS_WEB_IDENTITY_TOKEN_FILE"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text() == "token"


def test_a_newer_token_takes_the_place_of_the_older(tmp_path: Path) -> None:
    environment = {"MODAL_IDENTITY_TOKEN": "old", "AWS_ROLE_ARN": ROLE_ARN}
    lend_identity(environment, tmp_path)
    lend_identity(environment | {"MODAL_IDENTITY_TOKEN": "new"}, tmp_path)
    assert Path(environment["AWS_WEB_IDENTITY_TOKEN_FILE"]).read_text() == "new"


def test_a_file_that_the_platform_renews_is_read_where_it_lies(tmp_path: Path) -> None:
    renewed = tmp_path / "renewed"
    environment = {"MODAL_IDENTITY_TOKEN": "t", "MODAL_IDENTITY_TOKEN_FILE": str(renewed), "AWS_ROLE_ARN": ROLE_ARN}
    lend_identity(environment, tmp_path)
    assert environment["AWS_WEB_IDENTITY_TOKEN_FILE"] != str(renewed), "it is not there"
    renewed.write_text("t")
    lend_identity(environment, tmp_path)
    assert environment["AWS_WEB_IDENTITY_TOKEN_FILE"] == str(renewed)


@pytest.mark.parametrize("environment", [{}, {"MODAL_IDENTITY_TOKEN": "t"}, {"AWS_ROLE_ARN": ROLE_ARN}])
def test_without_token_or_role_nothing_changes(environment: dict[str, str], tmp_path: Path) -> None:
    before = dict(environment)
    assert not lend_identity(environment, tmp_path)
    assert environment == before
    assert not list(tmp_path.iterdir())
