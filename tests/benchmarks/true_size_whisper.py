"""A Whisper of true size whose weights are random but for what decides how much it says, and when.

What it says is nonsense. That it costs what the real one costs is the point: every layer and matrix has the real size,
and each window gives exactly as many tokens as it was built for, in every decoder, since the number follows from the
position alone. It is sure of its words, so that no decoder tries again at another temperature, and it "hears" them one
after the other over the window, so that word times come out as for speech.

Three dimensions of the stream are kept free of everything else: one says that the end is reached, two turn with time,
in the encoder with the sound, in the decoder with the words.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.micro_whisper import (
    AUDIO_POSITIONS,
    TEXT_POSITIONS,
    TEXT_TOKENS,
    save,
    vocabulary,
)

Array = npt.NDArray[Any]

HEAD = 64
TOKENS = 100
"""Of text in each window: English has about 3.5 a second."""

PROMPT = 3  # positions before the first token's own
END, SINE, COSINE = 0, 1, 2
FREE = 3
LOUD, TURNING, SHARP = 1_000.0, 8.0, 2.0
DEEP = 6
"""Of more layers than that, what they add drowns the turns, unless these are louder: words would begin late."""

NEVER, CERTAIN = -1_000.0, 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The dimensions of a model. ``languages`` is 100 for large-v3 and turbo."""

    encoder_layers: int
    decoder_layers: int
    width: int
    mels: int = 80
    languages: int = 99

    @property
    def heads(self) -> int:
        """64 wide each, in all of them."""
        return self.width // HEAD


SIZES = {
    "micro": Size(encoder_layers=1, decoder_layers=1, width=128),
    "tiny": Size(encoder_layers=4, decoder_layers=4, width=384),
    "base": Size(encoder_layers=6, decoder_layers=6, width=512),
    "small": Size(encoder_layers=12, decoder_layers=12, width=768),
    "large-v3": Size(encoder_layers=32, decoder_layers=32, width=1_280, mels=128, languages=100),
    "large-v3-turbo": Size(encoder_layers=32, decoder_layers=4, width=1_280, mels=128, languages=100),
}
"""The real ones' (and one for a quick look). Source: the config.json of openai/whisper-*."""


def build(folder: Path, name: str) -> Path:
    """Write the model into the folder, in CTranslate2's form and float16; the folder."""
    from ctranslate2.specs import WhisperSpec

    size = SIZES[name]
    spec = WhisperSpec(size.encoder_layers, size.heads, size.decoder_layers, size.heads)
    Weights(size).fill(spec)
    return save(folder, spec, words(size), size.mels)


def words(size: Size) -> list[str]:
    """Every token, in order."""
    return [_word(token) for token in vocabulary(size.languages)]


def _word(token: str) -> str:
    """A number as four letters: decoders take a text that packs too well for a loop."""
    if not token.startswith("Ġw"):
        return token
    number = int(token[2:]) * 7_919 % 26**4
    return "Ġ" + "".join(chr(ord("a") + number // 26**place % 26) for place in range(4))


class Weights:
    """Fills a specification. ``free`` is how many dimensions of the stream only say what they are for."""

    free, sharp = FREE, SHARP

    def __init__(self, size: Size) -> None:
        self._size = size
        self._count = len(words(size))
        self._random = np.random.default_rng(11)
        self._pool = self._random.normal(0, 0.02, 4_000_037).astype(np.float16)  # prime: no two rows are alike

    def fill(self, spec: Any) -> None:
        size, encoder, decoder = self._size, spec.encoder, spec.decoder
        for conv, channels in ((encoder.conv1, size.mels), (encoder.conv2, size.width)):
            conv.weight, conv.bias = self._of(size.width, channels, 3), self._zeros(size.width)
        encoder.conv2.weight[: self.free] = 0
        angles = np.pi * np.arange(AUDIO_POSITIONS) / AUDIO_POSITIONS
        encoder.position_encodings.encodings = self._positions(angles, size.encoder_layers)
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
                layer.ffn.linear_1.weight[: self.free] = 0
        self._follow_the_sound(decoder.layer[-1].attention)

    def _turns(self, text_tokens: int) -> Array:
        """The decoder's positions: each word's turn comes evenly over the window."""
        angles = np.pi * (np.arange(TEXT_POSITIONS) - PROMPT) / text_tokens
        angles[:PROMPT] = -np.pi / 2  # the prompt hears nothing, or the first words would begin late
        return self._positions(angles.clip(-np.pi / 2, np.pi), self._size.decoder_layers)

    def _say(self, decoder: Any) -> None:
        """The next token follows from the position and the last one; the end from the position alone."""
        decoder.position_encodings.encodings = self._turns(TOKENS)
        decoder.position_encodings.encodings[PROMPT + TOKENS :, END] = LOUD
        count, width = self._count, self._size.width
        words = self._random.normal(0, 1.0, (count, width)).astype(np.float16)
        words[:, : self.free] = 0
        decoder.embeddings.weight = words
        projection = words[self._random.permutation(count)] * np.float16(CERTAIN / np.sqrt(width))
        projection[TEXT_TOKENS] = 0
        projection[TEXT_TOKENS, END] = 100.0
        bias = self._zeros(count)
        bias[TEXT_TOKENS:] = NEVER
        bias[:256] = NEVER  # single bytes, which make no words
        decoder.projection.weight, decoder.projection.bias = projection, bias

    def _follow_the_sound(self, attention: Any) -> None:
        """The first head looks at the sound that the word's turn has come for."""
        query, key = attention.linear[0].weight, attention.linear[1].weight
        for matrix in (query, key):
            matrix[:HEAD] = 0
            matrix[0, SINE] = matrix[1, COSINE] = self.sharp

    def _positions(self, angles: Array, layers: int) -> Array:
        encodings = self._random.normal(0, 1.0, (len(angles), self._size.width))
        encodings[:, END] = 0
        encodings[:, COSINE + 1 : self.free] = 0
        loud = TURNING * max(1.0, layers / DEEP) ** 2
        encodings[:, SINE], encodings[:, COSINE] = loud * np.sin(angles), loud * np.cos(angles)
        return encodings.astype(np.float16)

    def _attention(self, attention: Any, rows: list[int]) -> None:
        self._norm(attention.layer_norm)
        for linear, outputs in zip(attention.linear, rows, strict=True):
            self._linear(linear, outputs, 1)
        attention.linear[-1].weight[: self.free] = 0

    def _linear(self, linear: Any, outputs: int, inputs: int) -> None:
        width = self._size.width
        linear.weight, linear.bias = self._of(outputs * width, inputs * width), self._zeros(outputs * width)

    def _norm(self, norm: Any) -> None:
        norm.gamma, norm.beta = np.ones(self._size.width, np.float16), self._zeros(self._size.width)

    def _zeros(self, count: int) -> Array:
        return np.zeros(count, np.float16)

    def _of(self, *shape: int) -> Array:
        return np.resize(self._pool, shape)
