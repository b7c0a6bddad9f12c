"""The Whisper of tests.benchmarks.true_size_whisper in a form that other libraries can hold, too.

As in the real ones, the matrix that reads tokens also writes them, and tokens have no bias: one more dimension of the
stream, which is always 1 at the end, stands for it. It is less sure of its words than the other, so that our pipeline
doubts them and listens again where it is larger than tiny: what is measured beside faster-whisper uses the other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.true_size_whisper import HEAD, PROMPT, SIZES, TOKENS, Array, Size, save, words
from tests.micro_whisper import AUDIO_POSITIONS, TEXT_POSITIONS, TEXT_TOKENS

BYTES = 256
"""The first tokens are single bytes, which make no words."""

END, SINE, COSINE, ALWAYS = 0, 1, 2, 3
FREE = 4
LOUD, TURNING, SHARP = 4_000.0, 8.0, 1.4
NEVER, CERTAIN, ENDING = -100.0, 30.0, 20.0
POSITION = 4.0
"""How much louder than one a decoder's position is: it says what comes, not the layers and the token before."""


def build(folder: Path, name: str) -> Path:
    """Write the model into the folder, in CTranslate2's form and float16; the folder."""
    return save(folder, SIZES[name], make(SIZES[name]))


def make(size: Size, text_tokens: int = TOKENS, *, says_time: bool = False) -> Any:
    """The weights, as CTranslate2's specification; so many tokens of text in each window, then perhaps "30 seconds"."""
    from ctranslate2.specs import WhisperSpec

    spec = WhisperSpec(size.encoder_layers, size.heads, size.decoder_layers, size.heads)
    _Weights(size, len(words(size)), text_tokens, says_time=says_time).fill(spec)
    return spec


class _Weights:
    def __init__(self, size: Size, vocabulary: int, text_tokens: int, *, says_time: bool) -> None:
        self._size = size
        self._vocabulary = vocabulary
        self._text_tokens = text_tokens
        self._says_time = says_time
        self._random = np.random.default_rng(11)
        self._pool = self._random.normal(0, 0.02, 4_000_037).astype(np.float16)  # prime: no two rows are alike

    def fill(self, spec: Any) -> None:
        size, encoder, decoder = self._size, spec.encoder, spec.decoder
        for conv, channels in ((encoder.conv1, size.mels), (encoder.conv2, size.width)):
            conv.weight, conv.bias = self._of(size.width, channels, 3), self._zeros(size.width)
        encoder.conv2.weight[:FREE] = 0
        angles = np.pi * np.arange(AUDIO_POSITIONS) / AUDIO_POSITIONS
        encoder.position_encodings.encodings = self._positions(angles)
        self._say(decoder)
        for part in (encoder, decoder):
            self._norm(part.layer_norm)
            for layer in part.layer:
                self._attention(layer.self_attention, [3, 1])
                if part is decoder:
                    self._attention(layer.attention, [1, 2, 1])
                self._norm(layer.ffn.layer_norm)
                self._linear(layer.ffn.linear_0, 4, 1)
                self._linear(layer.ffn.linear_1, 1, 4)
                layer.ffn.linear_1.weight[:FREE] = 0
        decoder.layer_norm.gamma[ALWAYS], decoder.layer_norm.beta[ALWAYS] = 0, 1
        self._follow_the_sound(decoder.layer[-1].attention)

    def _say(self, decoder: Any) -> None:
        """The position alone says which token comes next, and when the end has come."""
        width = self._size.width
        times = [self._vocabulary - 1_501, self._vocabulary - 1]  # <|0.00|> and <|30.00|>
        angles = np.pi * (np.arange(TEXT_POSITIONS) - PROMPT) / self._text_tokens
        angles[:PROMPT] = -np.pi / 2  # the prompt hears nothing, or the first words would begin late
        positions = self._positions(angles.clip(-np.pi / 2, np.pi))
        codes = self._random.normal(0, 1.0, (self._vocabulary, width)).astype(np.float16)
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
        decoder.projection.bias = self._zeros(self._vocabulary)

    def _follow_the_sound(self, attention: Any) -> None:
        """The first head looks at the sound that the word's turn has come for."""
        query, key = attention.linear[0].weight, attention.linear[1].weight
        for matrix in (query, key):
            matrix[:HEAD] = 0
            matrix[0, SINE] = matrix[1, COSINE] = SHARP

    def _positions(self, angles: Array) -> Array:
        encodings = self._random.normal(0, 1.0, (len(angles), self._size.width))
        encodings[:, :FREE] = 0
        encodings[:, SINE], encodings[:, COSINE] = TURNING * np.sin(angles), TURNING * np.cos(angles)
        return encodings.astype(np.float16)

    def _attention(self, attention: Any, rows: list[int]) -> None:
        self._norm(attention.layer_norm)
        for linear, outputs in zip(attention.linear, rows, strict=True):
            self._linear(linear, outputs, 1)
        attention.linear[-1].weight[:FREE] = 0

    def _linear(self, linear: Any, outputs: int, inputs: int) -> None:
        width = self._size.width
        linear.weight, linear.bias = self._of(outputs * width, inputs * width), self._zeros(outputs * width)

    def _norm(self, norm: Any) -> None:
        norm.gamma, norm.beta = np.ones(self._size.width, np.float16), self._zeros(self._size.width)

    def _zeros(self, count: int) -> Array:
        return np.zeros(count, np.float16)

    def _of(self, *shape: int) -> Array:
        return np.resize(self._pool, shape)
