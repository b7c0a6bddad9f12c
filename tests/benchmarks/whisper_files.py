"""The true-size Whisper in the forms of other libraries: arrays under OpenAI's names, and whisper.cpp's file."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from tests.benchmarks.true_size_whisper import Size, words
from tests.micro_whisper import AUDIO_POSITIONS, TEXT_POSITIONS, TEXT_TOKENS

Array = npt.NDArray[Any]

GGML_MAGIC = 0x67676D6C
MODEL_TYPE = 2_007
"""Mostly q8_0 (7), in the second version of ggml's quantised types (times 1,000)."""

F32, F16, Q8_0 = 0, 1, 8
BLOCK = 32
FRAME_BINS = 201
AS_FLOAT32 = {
    "encoder.conv1.bias",
    "encoder.conv2.bias",
    "encoder.positional_embedding",
    "decoder.positional_embedding",
}


def openai_arrays(spec: Any) -> dict[str, Array]:
    """Every tensor under the name it has in OpenAI's checkpoints."""
    found = {"decoder.token_embedding.weight": spec.decoder.embeddings.weight}
    for name in ("conv1", "conv2"):
        conv = getattr(spec.encoder, name)
        found |= {f"encoder.{name}.weight": conv.weight, f"encoder.{name}.bias": conv.bias}
    for side, part, norm in (("encoder", spec.encoder, "ln_post"), ("decoder", spec.decoder, "ln")):
        found[f"{side}.positional_embedding"] = part.position_encodings.encodings
        found |= _norm(f"{side}.{norm}", part.layer_norm)
        for index, layer in enumerate(part.layer):
            block = f"{side}.blocks.{index}"
            found |= _attention(f"{block}.attn", layer.self_attention)
            if side == "decoder":
                found |= _attention(f"{block}.cross_attn", layer.attention)
            found |= _norm(f"{block}.mlp_ln", layer.ffn.layer_norm)
            for place, linear in ((0, layer.ffn.linear_0), (2, layer.ffn.linear_1)):
                found |= {f"{block}.mlp.{place}.weight": linear.weight, f"{block}.mlp.{place}.bias": linear.bias}
    return found


def write_ggml(file: Path, size: Size, arrays: dict[str, Array], mel_filters: Array) -> Path:
    """whisper.cpp's model file, its matrices in 8 bits (q8_0) as its own quantising tool does it; the file."""
    text = words(size)[:TEXT_TOKENS]
    audio = (AUDIO_POSITIONS, size.width, size.heads, size.encoder_layers)
    decoder = (TEXT_POSITIONS, size.width, size.heads, size.decoder_layers)
    vocabulary = len(arrays["decoder.token_embedding.weight"])
    with file.open("wb") as to:
        to.write(struct.pack("<12i", GGML_MAGIC, vocabulary, *audio, *decoder, size.mels, MODEL_TYPE))
        to.write(struct.pack("<2i", size.mels, FRAME_BINS) + mel_filters.astype("<f4").tobytes())
        to.write(struct.pack("<i", len(text)))
        for token in text:
            word = token.replace("Ġ", " ").encode()
            to.write(struct.pack("<i", len(word)) + word)
        for name, array in arrays.items():
            _write_tensor(to, name, array)
    return file


def _norm(name: str, norm: Any) -> dict[str, Array]:
    return {f"{name}.weight": norm.gamma, f"{name}.bias": norm.beta}


def _attention(name: str, attention: Any) -> dict[str, Array]:
    """CTranslate2 stacks queries, keys and values, or the last two; keys have no bias in Whisper."""
    *inputs, out = attention.linear
    weights = np.concatenate([linear.weight for linear in inputs])
    biases = np.concatenate([linear.bias for linear in inputs])
    found = _norm(f"{name}_ln", attention.layer_norm)
    for part, weight, bias in zip(("query", "key", "value"), np.split(weights, 3), np.split(biases, 3), strict=True):
        found[f"{name}.{part}.weight"] = weight
        if part != "key":
            found[f"{name}.{part}.bias"] = bias
    return found | {f"{name}.out.weight": out.weight, f"{name}.out.bias": out.bias}


def _write_tensor(to: BinaryIO, name: str, array: Array) -> None:
    if name in {"encoder.conv1.bias", "encoder.conv2.bias"}:
        array = array.reshape(-1, 1)
    if array.ndim == 1 or name in AS_FLOAT32:
        kind, data = F32, array.astype("<f4").tobytes()
    elif array.ndim == 2:
        kind, data = Q8_0, _q8_0(array)
    else:
        kind, data = F16, array.astype("<f2").tobytes()
    encoded = name.encode()
    to.write(struct.pack("<3i", array.ndim, len(encoded), kind))
    to.write(struct.pack(f"<{array.ndim}i", *reversed(array.shape)) + encoded + data)


def _q8_0(matrix: Array) -> bytes:
    """Blocks of 32 numbers: a scale in half precision, then a byte for each."""
    blocks = matrix.astype(np.float32).reshape(-1, BLOCK)
    scales = np.abs(blocks).max(axis=1, keepdims=True) / 127
    packed = np.zeros(len(blocks), np.dtype([("scale", "<f2"), ("numbers", "i1", BLOCK)]))
    packed["scale"] = scales[:, 0]
    packed["numbers"] = np.rint(blocks / np.where(scales == 0, 1, scales))
    return packed.tobytes()
