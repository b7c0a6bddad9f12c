"""For speech pipelines of tests: what a pipeline has that never runs one stage again."""

from __future__ import annotations

from typing import Any

from shared.domain.transcripts import Transcript


class WholeOnly:
    """Refuses to run a stage again."""

    def diarize_again(self, *_: Any, **__: Any) -> Transcript:
        """Not here."""
        raise NotImplementedError

    def summarize_again(self, *_: Any, **__: Any) -> Transcript:
        """Not here."""
        raise NotImplementedError
