"""The Whisper of tests.benchmarks.true_size_whisper in a form that other libraries can hold, too.

As in the real ones, the matrix that reads tokens also writes them, and tokens have no bias: one more dimension of the
stream, which is always 1 at the end, stands for it. It is less sure of its words than the other, so that our pipeline
doubts them and listens again where it is larger than tiny: what is measured beside faster-whisper uses the other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.true_size_whisper import END, PROMPT, SIZES, TOKENS, Size, Weights, words
from tests.micro_whisper import TEXT_TOKENS, save

BYTES = 256
"""The first tokens are single bytes, which make no words."""

ALWAYS = 3
FREE = 4
LOUD, SHARP = 4_000.0, 1.4
NEVER, CERTAIN, ENDING = -100.0, 30.0, 20.0
POSITION = 4.0
"""How much louder than one a decoder's position is: it says what comes, not the layers and the token before."""


def build(folder: Path, name: str) -> Path:
    """Write the model into the folder, in CTranslate2's form and float16; the folder."""
    size = SIZES[name]
    return save(folder, make(size), words(size), size.mels)


def make(size: Size, text_tokens: int = TOKENS, *, says_time: bool = False) -> Any:
    """The weights, as CTranslate2's specification; so many tokens of text in each window, then perhaps "30 seconds"."""
    from ctranslate2.specs import WhisperSpec

    spec = WhisperSpec(size.encoder_layers, size.heads, size.decoder_layers, size.heads)
    _TiedWeights(size, text_tokens, says_time=says_time).fill(spec)
    return spec


class _TiedWeights(Weights):
    free, sharp = FREE, SHARP

    def __init__(self, size: Size, text_tokens: int, *, says_time: bool) -> None:
        super().__init__(size)
        self._text_tokens = text_tokens
        self._says_time = says_time

    def fill(self, spec: Any) -> None:
        super().fill(spec)
        norm = spec.decoder.layer_norm
        norm.gamma[ALWAYS], norm.beta[ALWAYS] = 0, 1

    def _say(self, decoder: Any) -> None:
        """The position alone says which token comes next, and when the end has come."""
        width = self._size.width
        times = [self._count - 1_501, self._count - 1]  # <|0.00|> and <|30.00|>
        positions = self._turns(self._text_tokens)
        codes = self._random.normal(0, 1.0, (self._count, width)).astype(np.float16)
        codes[:, :FREE] = 0
        said = self._random.permutation(np.arange(BYTES, TEXT_TOKENS - 1))[: self._text_tokens]
        said = np.append(said, times[1]) if self._says_time else said
        end = PROMPT + len(said)
        positions[PROMPT:end, FREE:] = codes[said, FREE:]
        positions[PROMPT - 1, FREE:] = codes[times[0], FREE:]
        positions[end:, END] = LOUD / POSITION
        decoder.position_encodings.encodings = positions * np.float16(POSITION)
        tokens = codes * np.float16(CERTAIN / width)
        tokens[TEXT_TOKENS:, ALWAYS] = tokens[:BYTES, ALWAYS] = NEVER
        tokens[times, ALWAYS] = 0 if self._says_time else NEVER
        tokens[TEXT_TOKENS] = 0
        tokens[TEXT_TOKENS, END] = ENDING
        decoder.embeddings.weight = decoder.projection.weight = tokens
        decoder.projection.bias = self._zeros(self._count)
