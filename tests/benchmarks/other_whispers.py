"""One other library on one file, in an environment of its own: a line of JSON for each line it is sent.

    .venv-tools/bench-speech/bin/python -m tests.benchmarks.other_whispers openai arrays.npz long.wav 2

Whole words are asked of both: beam 5, temperature 0 with no second try, English, word times.
"""

from __future__ import annotations

import json
import sys
import time
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

BEAM = 5
"""faster-whisper's own, which the pipeline uses, and that of OpenAI's command line."""

END_OF_TEXT = 50_257
SIDES = ("encoder", "decoder")

Row = Callable[[Path], int]
"""From a WAV file, 16 kHz mono, to the number of tokens of text."""


def main() -> None:
    """Load, say so, then transcribe once for every line that comes in."""
    library, model, file, threads = sys.argv[1:]
    if library == "mel-filters":
        np.save(model, openai_mel_filters(int(threads)))
        return
    row = {"openai": openai_whisper, "ggml": whisper_cpp}[library](Path(model), int(threads))
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        tokens = row(Path(file))
        print(json.dumps({"seconds": time.perf_counter() - began, "tokens": tokens}), flush=True)


def openai_whisper(model: Path, threads: int) -> Row:
    """In float32, which is all it does on a CPU. The last layer's first head hears the words, as in the other forms."""
    import torch
    from whisper.model import ModelDimensions, Whisper

    torch.set_num_threads(threads)
    arrays = np.load(model)
    width = arrays["decoder.token_embedding.weight"].shape[1]
    layers = {side: len([n for n in arrays if n.startswith(side) and n.endswith(".mlp_ln.bias")]) for side in SIDES}
    dimensions = ModelDimensions(
        n_mels=arrays["encoder.conv1.weight"].shape[1],
        n_audio_ctx=len(arrays["encoder.positional_embedding"]),
        n_audio_state=width,
        n_audio_head=width // 64,
        n_audio_layer=layers["encoder"],
        n_vocab=len(arrays["decoder.token_embedding.weight"]),
        n_text_ctx=len(arrays["decoder.positional_embedding"]),
        n_text_state=width,
        n_text_head=width // 64,
        n_text_layer=layers["decoder"],
    )
    loaded = Whisper(dimensions).eval()
    loaded.load_state_dict({name: torch.from_numpy(arrays[name].astype(np.float32)) for name in arrays})
    heads = torch.zeros(layers["decoder"], width // 64, dtype=torch.bool)
    heads[-1, 0] = True
    loaded.register_buffer("alignment_heads", heads.to_sparse(), persistent=False)

    def run(file: Path) -> int:
        found: Any = loaded.transcribe(
            _samples(file),
            language="en",
            beam_size=BEAM,
            temperature=0.0,
            fp16=False,
            condition_on_previous_text=False,
            suppress_tokens="",
            word_timestamps=True,
        )
        assert all(segment["words"] for segment in found["segments"])
        return sum(token < END_OF_TEXT for segment in found["segments"] for token in segment["tokens"])

    return run


def whisper_cpp(model: Path, threads: int) -> Row:
    """Word times by its own way of aligning (DTW), for which it must leave out flash attention."""
    import _pywhispercpp as library
    from pywhispercpp.model import Model

    loaded = Model(
        str(model),
        params_sampling_strategy=1,
        redirect_whispercpp_logs_to=None,
        context_params={
            "use_gpu": False,
            "flash_attn": False,
            "dtw_token_timestamps": True,
            "dtw_aheads_preset": library.whisper_alignment_heads_preset.WHISPER_AHEADS_N_TOP_MOST,
            "dtw_n_top": 1,
        },
        n_threads=threads,
        language="en",
        beam_search={"beam_size": BEAM, "patience": -1.0},
        temperature=0.0,
        temperature_inc=0.0,
        no_context=True,
        n_max_text_ctx=0,  # the text before, which no_context leaves out at the beginning only
        token_timestamps=True,
        print_progress=False,
    )

    def run(file: Path) -> int:
        loaded.transcribe(_samples(file))
        heard = loaded._ctx
        ids = [
            library.whisper_full_get_token_id(heard, segment, token)
            for segment in range(library.whisper_full_n_segments(heard))
            for token in range(library.whisper_full_n_tokens(heard, segment))
        ]
        return sum(token < END_OF_TEXT for token in ids)

    return run


def openai_mel_filters(mels: int) -> Any:
    """Every whisper.cpp model file carries them; they come with openai-whisper."""
    from whisper.audio import mel_filters

    return mel_filters("cpu", mels).numpy()


def _samples(file: Path) -> Any:
    """Without ffmpeg, which openai-whisper would start for it."""
    with wave.open(str(file)) as opened:
        frames = opened.readframes(opened.getnframes())
    return np.frombuffer(frames, np.int16).astype(np.float32) / 32_768


if __name__ == "__main__":
    main()
