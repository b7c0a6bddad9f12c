"""An instruct model in this process, by vLLM: what the summary's GPU runs."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from gpu_jobs.summarize.llm import SCHEMA

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
