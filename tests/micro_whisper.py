"""A Whisper of random weights in CTranslate2's form: what it says is nonsense, how it says it is the real thing.

Vocabulary, prompt, timestamps, alignment heads and file layout are those of the multilingual models; only the width is
16 and there is one layer, so it is a few megabytes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

WIDTH, HEADS, MELS = 16, 2, 80
TEXT_TOKENS = 50_257
END_BIAS = 4.0  # makes it stop talking after some words, not at the last position
AUDIO_POSITIONS, TEXT_POSITIONS = 1_500, 448


def build(folder: Path) -> Path:
    """Write the model into the folder; the folder."""
    from ctranslate2.specs import WhisperSpec

    tokens = vocabulary()
    spec = WhisperSpec(1, HEADS, 1, HEADS)
    _Weights(len(tokens)).fill(spec)
    return save(folder, spec, tokens, MELS)


def save(folder: Path, spec: Any, tokens: list[str], mels: int) -> Path:
    """Write a specification with all that belongs to a model; the folder. The last layer's first head times words."""
    spec.config.alignment_heads = [(len(spec.decoder.layer) - 1, 0)]
    spec.config.lang_ids = [index for index, token in enumerate(tokens) if is_language(token)]
    spec.config.suppress_ids, spec.config.suppress_ids_begin = [], [220, TEXT_TOKENS]
    spec.register_vocabulary(tokens)
    spec.validate()
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))
    tokenizer(tokens).save(str(folder / "tokenizer.json"))
    (folder / "preprocessor_config.json").write_text(json.dumps({"feature_size": mels}))
    return folder


def _languages(count: int) -> list[str]:
    from faster_whisper.tokenizer import _LANGUAGE_CODES

    return list(_LANGUAGE_CODES)[:count]


def is_language(token: str) -> bool:
    """True for a language's special token."""
    return token.startswith("<|") and token[2:-2] in _languages(100)


def vocabulary(languages: int = 99) -> list[str]:
    """All tokens: 50,257 of text, then the special ones of a model of so many languages (large-v3 has 100)."""
    from tokenizers.pre_tokenizers import ByteLevel

    text = sorted(ByteLevel.alphabet())
    text += [f"Ġw{index}" for index in range(TEXT_TOKENS - len(text) - 1)]
    text += [""]  # by this one CTranslate2 knows a multilingual vocabulary
    tasks = ["translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps"]
    times = [f"{index * 0.02:.2f}" for index in range(1_501)]
    special = ["endoftext", "startoftranscript", *_languages(languages), *tasks, *times]
    return [*text, *(f"<|{name}|>" for name in special)]


def tokenizer(tokens: list[str]) -> Any:
    """The tokenizer of such a vocabulary, as the library loads it."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    text = {token: index for index, token in enumerate(tokens[:TEXT_TOKENS])}
    made = Tokenizer(models.BPE(vocab=text, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(token, special=True) for token in tokens[TEXT_TOKENS:]])
    return made


class _Weights:
    """Random numbers of the right shapes for every layer."""

    def __init__(self, vocabulary: int) -> None:
        self._vocabulary = vocabulary
        self._random = np.random.default_rng(11)

    def fill(self, spec: Any) -> None:
        encoder, decoder = spec.encoder, spec.decoder
        for conv, channels in ((encoder.conv1, MELS), (encoder.conv2, WIDTH)):
            conv.weight, conv.bias = self._of(WIDTH, channels, 3), self._of(WIDTH)
        encoder.position_encodings.encodings = self._of(AUDIO_POSITIONS, WIDTH)
        decoder.position_encodings.encodings = self._of(TEXT_POSITIONS, WIDTH)
        decoder.embeddings.weight = self._of(self._vocabulary, WIDTH)
        decoder.projection.weight = decoder.embeddings.weight
        decoder.projection.bias = np.zeros(self._vocabulary, np.float32)
        decoder.projection.bias[TEXT_TOKENS] = END_BIAS
        for part in (encoder, decoder):
            self._norm(part.layer_norm)
            for layer in part.layer:
                self._attention(layer.self_attention, [3 * WIDTH, WIDTH])
                if part is decoder:
                    self._attention(layer.attention, [WIDTH, 2 * WIDTH, WIDTH])
                self._norm(layer.ffn.layer_norm)
                self._linear(layer.ffn.linear_0, 4 * WIDTH, WIDTH)
                self._linear(layer.ffn.linear_1, WIDTH, 4 * WIDTH)

    def _attention(self, attention: Any, rows: list[int]) -> None:
        self._norm(attention.layer_norm)
        for linear, outputs in zip(attention.linear, rows, strict=True):
            self._linear(linear, outputs, WIDTH)

    def _linear(self, linear: Any, outputs: int, inputs: int) -> None:
        linear.weight, linear.bias = self._of(outputs, inputs), self._of(outputs)

    def _norm(self, norm: Any) -> None:
        norm.gamma, norm.beta = np.ones(WIDTH, np.float32), self._of(WIDTH)

    def _of(self, *shape: int) -> Any:
        return self._random.normal(0, 0.3, shape).astype(np.float32)
