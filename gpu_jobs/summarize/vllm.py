"""An instruct model in this process, by vLLM: what the summary's GPU runs.

vLLM pins most of what it needs, at odds with our own pins, so its image has nothing of ours installed: until the model
is loaded, nothing here may need more than Python itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from gpu_jobs.devices import compute_device
from gpu_jobs.stopwatch import Stopwatch
from gpu_jobs.summarize.llm import SCHEMA, Complete

MAX_CONTEXT_TOKENS = 16_384
MAX_ANSWER_TOKENS = 1_000


class VllmCompleter:
    """The Complete of a model folder; its answers keep to the schema by guided decoding."""

    def __init__(self, folder: Path) -> None:
        """Load the model: a minute or so."""
        from vllm import LLM

        self._model: Any = LLM(str(folder), max_model_len=MAX_CONTEXT_TOKENS, enforce_eager=True)

    def __call__(self, messages: list[dict[str, str]]) -> str:
        """The model's answer."""
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        parameters = SamplingParams(
            temperature=0, max_tokens=MAX_ANSWER_TOKENS, structured_outputs=StructuredOutputsParams(json=SCHEMA)
        )
        (answer,) = self._model.chat(messages, parameters)
        return str(answer.outputs[0].text)


@cache
def loaded(folder: Path) -> VllmCompleter:
    """The model of a folder, loaded once per process."""
    return VllmCompleter(folder)


def summarise(folder: Path, messages: list[dict[str, str]]) -> dict[str, Any]:
    """What the language model in the folder answers, and the seconds it took."""
    return answered(lambda: loaded(folder), messages)


def answered(load: Callable[[], Complete], messages: list[dict[str, str]]) -> dict[str, Any]:
    """The answer of the model that ``load`` gives. Loading is work, as it is with the other engines."""
    clock = Stopwatch()
    with clock.timing(f"summarizing@{compute_device()}"):
        answer = load()(messages)
    return {"answer": answer, "compute_seconds": clock.seconds}
