"""What goes to Lambda: nothing that must not, everything that must. The real build is `make build`; it needs pip."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra import stage_lambda
from infra.lambda_imports import has_module, outside_imports
from infra.local import template
from infra.stage_lambda import ARTEFACTS, ROOT, Artefact, StageProblem

API, EVENTS, DISPATCH = ARTEFACTS


def given(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return folder


@pytest.mark.parametrize("intruder", ["torch/__init__.py", "modal_app.py", "tests/__init__.py", "moto/__init__.py"])
@pytest.mark.parametrize("artefact", ARTEFACTS, ids=lambda artefact: artefact.name)
def test_an_intruder_stops_the_build(artefact: Artefact, intruder: str, tmp_path: Path) -> None:
    given(tmp_path, "functions/__init__.py", intruder)
    with pytest.raises(StageProblem, match=Path(intruder).parts[0].removesuffix(".py")):
        stage_lambda.check(artefact, tmp_path)


def test_a_distribution_with_another_import_name_is_an_intruder_too(tmp_path: Path) -> None:
    given(tmp_path, "yt_dlp-2026.1.1.dist-info/METADATA")
    with pytest.raises(StageProblem, match="yt_dlp"):
        stage_lambda.check(API, tmp_path)


def test_only_the_dispatcher_gets_modal(tmp_path: Path) -> None:
    given(tmp_path, "modal/__init__.py")
    stage_lambda.check(DISPATCH, tmp_path)
    for artefact in (API, EVENTS):
        with pytest.raises(StageProblem, match="modal"):
            stage_lambda.check(artefact, tmp_path)


def test_event_functions_get_no_web_framework(tmp_path: Path) -> None:
    given(tmp_path, "fastapi/__init__.py")
    stage_lambda.check(API, tmp_path)
    for artefact in (EVENTS, DISPATCH):
        with pytest.raises(StageProblem, match="fastapi"):
            stage_lambda.check(artefact, tmp_path)


def test_code_built_for_another_machine_stops_the_build(tmp_path: Path) -> None:
    given(tmp_path, "pydantic_core/_pydantic_core.cpython-313-x86_64-linux-gnu.so")
    with pytest.raises(StageProblem, match="another machine"):
        stage_lambda.check(API, tmp_path)


def test_every_handler_of_the_template_belongs_to_a_staged_artefact() -> None:
    handlers = stage_lambda.handlers_by_artefact(template.read(ROOT / "template.yaml"))
    assert handlers["api"] == ["functions.api.handler.handler"]
    assert handlers["dispatch"] == ["functions.dispatch.handler"]
    assert handlers.keys() <= {artefact.name for artefact in ARTEFACTS}


def test_a_handler_that_imports_what_its_artefact_lacks_stops_the_build(tmp_path: Path) -> None:
    given(tmp_path, "functions/__init__.py", "boto3/__init__.py")
    (tmp_path / "functions" / "job.py").write_text("import json, boto3\nfrom functions import rules\n")
    (tmp_path / "functions" / "rules.py").write_text("import httpx\ndef f():\n    import modal\n")
    assert outside_imports("functions.job.handler", tmp_path) == {"boto3", "httpx"}
    with pytest.raises(StageProblem, match="imports httpx"):
        stage_lambda.check_handlers(["functions.job.handler"], tmp_path)


def test_imports_for_the_type_checker_do_not_count(tmp_path: Path) -> None:
    given(tmp_path, "functions/__init__.py")
    (tmp_path / "functions" / "job.py").write_text(
        "if TYPE_CHECKING:\n    import mypy_boto3_s3\ntry:\n    import six\nexcept E:\n    pass\n"
    )
    assert outside_imports("functions.job.handler", tmp_path) == {"six"}


def test_a_missing_handler_stops_the_build(tmp_path: Path) -> None:
    with pytest.raises(StageProblem, match=r"functions\.gone"):
        stage_lambda.check_handlers(["functions.gone.handler"], tmp_path)


def test_modules_packages_and_extensions_all_count_as_present(tmp_path: Path) -> None:
    given(tmp_path, "six.py", "boto3/__init__.py", "fast.cpython-313-aarch64-linux-gnu.so")
    assert all(has_module(name, tmp_path) for name in ("six", "boto3", "fast"))
    assert not has_module("modal", tmp_path)


def test_the_services_that_stay_in_botocore_are_those_the_code_makes_clients_of() -> None:
    assert {"dynamodb", "s3", "sqs", "events", "secretsmanager"} <= stage_lambda.used_services(ROOT)
