"""The Modal app, by its own objects: what runs where, with what, and what it may touch. Needs no account."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
import warnings
from types import ModuleType
from typing import Any

import pytest

from gpu_jobs.planner import GPUS
from gpu_jobs.weights import WEIGHTS
from infra.admin.cost import read_inputs
from infra.deploy.stages import CEILINGS
from shared.adapters.modal_runner import FUNCTION
from tests.infra.repository import ROOT

SOURCE = ROOT / "modal_app.py"
KNOWN_GPUS = {"T4", "L4", "A10", "L40S", "A100-40GB", "A100-80GB", "H100", "H200", "B200"}
ON_GPU = {"Listener.*", "diarize", "summarise"}
ONE_DAY_SECONDS = 24 * 60 * 60  # Modal's own limits; it checks neither before a deployment
MAX_SCALEDOWN_SECONDS = 20 * 60


@pytest.fixture(scope="module")
def modal_app() -> ModuleType:
    spec = importlib.util.spec_from_file_location("modal_app", SOURCE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Modal warns of what it is going to drop
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def functions(modal_app: ModuleType) -> dict[str, Any]:
    """What each function was declared with, by its name."""
    declared = modal_app.app._local_state.functions
    return {name: _original(function)._function_info for name, function in declared.items()}


def _original(function: Any) -> Any:
    """Modal's object behind the one that works in any thread."""
    if hasattr(function, "_function_info"):
        return function
    (name,) = [name for name in dir(function) if name.startswith("_sync_original")]
    return getattr(function, name)


def arguments() -> dict[str, dict[str, ast.expr]]:
    """The keywords of each @app.function and @app.cls as they are written: Modal keeps some only for its server."""
    found = {}
    for node in ast.parse(SOURCE.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            for call in node.decorator_list:
                if isinstance(call, ast.Call) and ast.unparse(call.func) in {"app.function", "app.cls"}:
                    found[node.name] = {keyword.arg or "**": keyword.value for keyword in call.keywords}
    return found


def test_the_app_is_what_the_issue_names_and_the_runner_spawns(functions: dict[str, Any]) -> None:
    assert set(functions) == {"Listener.*", "diarize", "summarise", "run_job", "uploads", "fetch_weights"}
    assert FUNCTION in functions
    assert functions["Listener.*"].method_names == ["transcribe_chunk", "choose_language"]
    assert functions["uploads"].web_info is not None
    assert functions["uploads"].concurrency_info.max_inputs == 8


def test_only_the_engines_are_on_gpus_each_with_others_to_fall_back_on(functions: dict[str, Any]) -> None:
    for name, info in functions.items():
        gpus = [kind for kind, count in info.gpus if count == 1]
        assert len(gpus) == len(info.gpus)
        assert (len(gpus) >= 2) == (name in ON_GPU)
        assert set(gpus) <= KNOWN_GPUS
        assert not info.nonpreemptible  # not to be had with a GPU


def test_the_planner_reckons_with_the_first_choices(modal_app: ModuleType, functions: dict[str, Any]) -> None:
    words, speakers = functions["Listener.*"].gpus[0][0], functions["diarize"].gpus[0][0]

    assert (words, speakers) == (modal_app.PLANNED_GPU, modal_app.SPEAKERS_GPU)
    assert {words, speakers} <= set(GPUS)


def test_a_receipt_counts_the_whole_machine_of_run_job(modal_app: ModuleType) -> None:
    written = arguments()["run_job"]
    prices = read_inputs()

    cores = ast.literal_eval(written["cpu"]) * prices.gpu_dollars_per_second["cpu"]
    memory = ast.literal_eval(written["memory"]) / 1024 * prices.value("price", "modal_gib_second")

    device = modal_app.WHISPER["COMPUTE_DEVICE"]
    assert prices.gpu_dollars_per_second[device] == pytest.approx(cores + memory)


def test_what_works_on_a_job_is_tried_again_and_ends_within_a_day(functions: dict[str, Any]) -> None:
    for name in (*ON_GPU, "run_job"):
        assert functions[name].max_retries == 2
    assert all(60 <= info.timeout <= ONE_DAY_SECONDS for info in functions.values())
    assert functions["run_job"].timeout == ONE_DAY_SECONDS
    assert functions["run_job"].timeout > functions["diarize"].timeout > functions["Listener.*"].timeout


def test_weights_are_read_only_for_all_but_the_one_that_fetches_them(
    modal_app: ModuleType, functions: dict[str, Any]
) -> None:
    mounts = {name: info.volumes.get(modal_app.WEIGHTS_DIR) for name, info in functions.items()}

    assert {name for name, mount in mounts.items() if mount is not None} == {*ON_GPU, "fetch_weights"}
    assert {name for name, mount in mounts.items() if mount and not mount.read_only} == {"fetch_weights"}
    assert {mount.name for mount in mounts.values() if mount} == {"audiototext-weights"}
    assert functions["fetch_weights"].schedule.startswith("Cron(")
    assert {modal_app.SPEAKER_MODEL, modal_app.LANGUAGE_MODEL} <= {weights.name for weights in WEIGHTS}
    assert all(len(weights.revision) == 40 for weights in WEIGHTS)


def test_secrets_are_named_not_held_and_each_function_has_only_its_own(functions: dict[str, Any]) -> None:
    stack, hub = "modal.Secret.from_name('audiototext')", "modal.Secret.from_name('audiototext-hub')"
    held = {name: info.secrets for name, info in functions.items()}

    assert held.pop("fetch_weights") == [hub]
    assert held.pop("run_job") == [stack, "modal.Secret.from_name('audiototext-sources')"]
    assert held.pop("summarise") == []  # it sees the talk, and nothing it could write it to
    assert all(secrets == [stack] for secrets in held.values())
    assert "AWS_SECRET_ACCESS_KEY" not in SOURCE.read_text()


def test_snapshots_ceilings_and_scaledown_are_declared_within_modals_limits() -> None:
    written = arguments()

    for name in ("Listener", "diarize", "run_job"):
        assert ast.literal_eval(written[name]["enable_memory_snapshot"]) is True
    for name in ("Listener", "diarize", "summarise", "run_job", "uploads"):
        assert ast.literal_eval(written[name]["scaledown_window"]) <= MAX_SCALEDOWN_SECONDS
    assert ast.unparse(written["Listener"]["max_containers"]) == "MAX_GPUS"
    assert ast.unparse(written["run_job"]["max_containers"]) == "MAX_JOBS"


def test_all_jobs_share_one_fleet_so_that_the_ceiling_is_one_over_all() -> None:
    source = SOURCE.read_text()

    assert "with_options" not in source  # each variant would scale by itself, with a ceiling of its own
    assert "transcribe_chunk.remote" in source


def test_what_fails_on_a_gpu_is_tried_again_on_another_machine(
    modal_app: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[str] = []
    monkeypatch.setattr("modal.experimental.stop_fetching_inputs", lambda: stopped.append("here"))

    with modal_app.next_try_elsewhere():
        pass
    assert stopped == []
    with pytest.raises(RuntimeError), modal_app.next_try_elsewhere():
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    assert stopped == ["here"]


def test_the_ceilings_are_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CEILINGS:
        monkeypatch.setenv(name, "3")
    spec = importlib.util.spec_from_file_location("modal_app_of_three", SOURCE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    assert {name: getattr(module, name) for name in CEILINGS} == dict.fromkeys(CEILINGS, 3)
    assert module.DEPLOYED["MAX_GPUS"] == "3"  # in the containers too, where run_job shares the work out


def test_the_file_is_short_and_the_only_one_of_ours_that_says_modal() -> None:
    assert len(SOURCE.read_text().splitlines()) < 200
    for package in ("gpu_jobs", "functions", "infra"):
        for file in (ROOT / package).rglob("*.py"):
            assert not re.search(r"import modal\b", file.read_text()), file


def test_what_runs_beside_the_language_model_needs_nothing_that_is_installed() -> None:
    bare = [sys.executable, "-S", "-c", "import gpu_jobs.summarize.vllm"]  # no site-packages
    subprocess.run(bare, cwd=ROOT, check=True)


def test_every_requirements_file_of_an_image_exists() -> None:
    for node in ast.walk(ast.parse(SOURCE.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "_image":
            for name in ast.literal_eval(node.args[1]).split():
                assert (ROOT / "requirements" / name).is_file(), name
