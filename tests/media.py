"""The smallest recording there is: WAV, without PyAV. Everything else comes from tests/media_files.py."""

from __future__ import annotations

import io
import math
import struct
import wave


def wav(seconds: float, *, sample_rate: int = 8_000) -> bytes:
    """A mono 16-bit WAV file with a tone of 440 Hz."""
    count = round(seconds * sample_rate)
    samples = [round(8_000 * math.sin(2 * math.pi * 440 * index / sample_rate)) for index in range(count)]
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(struct.pack(f"<{count}h", *samples))
    return buffer.getvalue()
