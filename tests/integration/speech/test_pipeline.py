"""The whole speech pipeline, on real recordings and on what is none, with the engines that install with us."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import jiwer
import numpy as np
import pytest

from gpu_jobs.align import UNALIGNED_CONFIDENCE
from gpu_jobs.audio import decode_recording
from gpu_jobs.engines import EngineSettings, build_engines
from gpu_jobs.pipeline import SpeechPipeline
from shared.domain.errors import JobFailure
from shared.domain.options import TranscriptionOptions
from shared.domain.transcript_values import from_values, to_values, word_rows
from shared.domain.transcripts import Transcript, Word
from tests import sounds
from tests.data.recordings import BECKETT, ENDGAME, ENDGAME_LINES, NAGG, TWO_CITIES, TWO_CITIES_TEXT

EVERYTHING = TranscriptionOptions(diarization=True, word_timestamps=True, summary=True)
WORDS = TranscriptionOptions(word_timestamps=True)


class Hook:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, float, float]] = []

    def __call__(self, stage: str, completed_seconds: float, total_seconds: float) -> None:
        self.calls.append((stage, completed_seconds, total_seconds))


@pytest.fixture(scope="session")
def pipeline() -> SpeechPipeline:
    return SpeechPipeline(build_engines(EngineSettings()))


@pytest.fixture(scope="module")
def endgame_hook() -> Hook:
    return Hook()


@pytest.fixture(scope="module")
def endgame(pipeline: SpeechPipeline, endgame_hook: Hook) -> Transcript:
    return pipeline.transcribe(ENDGAME, EVERYTHING, endgame_hook)


def plain(text: str) -> str:
    return re.sub(r"[^a-z' ]", "", " ".join(text.lower().replace("-", " ").split()))


def words_of(transcript: Transcript) -> list[Word]:
    return [word for segment in transcript.segments for word in segment.words]


def assert_well_formed(transcript: Transcript) -> None:
    """What holds of every transcript with word times."""
    for before, after in pairwise(transcript.segments):
        assert before.end_seconds <= after.start_seconds
    for segment in transcript.segments:
        assert 0 <= segment.start_seconds <= segment.end_seconds <= transcript.duration_seconds + 0.001
        assert segment.text == " ".join(word.text for word in segment.words)
        assert (segment.start_seconds, segment.end_seconds) == (
            segment.words[0].start_seconds,
            segment.words[-1].end_seconds,
        )
        for word in segment.words:
            assert word.start_seconds <= word.end_seconds
            assert word.confidence is not None  # measured or, where the sound told nothing, low
            assert 0 <= word.confidence <= 1
            assert word.aligned or word.confidence == UNALIGNED_CONFIDENCE
            assert word.speaker_id == segment.speaker_id
        for first, second in pairwise(segment.words):
            assert first.end_seconds <= second.start_seconds
    assert from_values(to_values(transcript), word_rows(transcript)) == transcript


def test_a_tale_of_two_cities_is_transcribed_with_at_most_15_percent_word_errors(pipeline: SpeechPipeline) -> None:
    transcript = pipeline.transcribe(TWO_CITIES, WORDS, Hook())

    assert jiwer.wer(plain(TWO_CITIES_TEXT), plain(transcript.text)) <= 0.15
    assert transcript.language == "en"
    assert transcript.duration_seconds == pytest.approx(44.374, abs=0.01)
    assert transcript.engines.transcriber == "moonshine:tiny-en"
    assert transcript.engines.aligner == "pocketsphinx:en-us"
    assert transcript.engines.diarizer is None
    assert transcript.speakers == ()
    assert_well_formed(transcript)
    assert sum(word.aligned for word in words_of(transcript)) / len(words_of(transcript)) >= 0.98


def test_word_times_say_when_the_words_are_spoken(pipeline: SpeechPipeline) -> None:
    words = words_of(pipeline.transcribe(BECKETT, WORDS, Hook()))

    sound = np.abs(np.asarray(decode_recording(BECKETT).samples))
    heard = np.concatenate([sound[round(w.start_seconds * 16_000) : round(w.end_seconds * 16_000)] for w in words])
    assert sum(w.end_seconds - w.start_seconds for w in words) < 8.0  # of ten seconds with five pauses
    assert np.sum(heard**2) > 0.97 * np.sum(sound**2)  # yet nearly all of the sound is inside the words


def test_both_voices_are_found_and_each_line_has_the_right_one(endgame: Transcript) -> None:
    assert [speaker.label for speaker in endgame.speakers] == ["Speaker 1", "Speaker 2"]
    nagg = endgame.speakers[0].id
    for speaker, line in ENDGAME_LINES:
        assert (speaker == NAGG) == (nagg == speaker_of(line, endgame)), line


def speaker_of(line: str, transcript: Transcript) -> str | None:
    """Who says the line, by the place of its words in the whole talk."""
    reference = [(index, word) for index, (_, text) in enumerate(ENDGAME_LINES) for word in plain(text).split()]
    spoken = [(word, plain(word.text)) for word in words_of(transcript)]
    alignment = jiwer.process_words(" ".join(w for _, w in reference), " ".join(w for _, w in spoken)).alignments[0]
    wanted = next(index for index, (_, text) in enumerate(ENDGAME_LINES) if text == line)
    return next(
        spoken[chunk.hyp_start_idx + offset][0].speaker_id
        for chunk in alignment
        for offset in range(chunk.ref_end_idx - chunk.ref_start_idx)
        if chunk.type in {"equal", "substitute"} and reference[chunk.ref_start_idx + offset][0] == wanted
    )


def test_every_segment_of_a_talk_has_one_speaker_and_well_formed_words(endgame: Transcript) -> None:
    assert_well_formed(endgame)
    assert {s.speaker_id for s in endgame.segments} == {s.id for s in endgame.speakers}
    assert sum(s.speaking_time_seconds for s in endgame.speakers) == pytest.approx(19.0, abs=3.0)


def test_a_talk_has_a_summary_and_topics_and_says_what_made_them(endgame: Transcript) -> None:
    assert endgame.summary is not None
    assert endgame.summary.text
    assert endgame.summary.topics
    assert endgame.engines.diarizer == "moonshine:pyannote-community-1"
    assert endgame.engines.summarizer == "extractive:lexrank+yake"
    assert set(endgame.compute_seconds) >= {"decoding", "transcribing", "aligning", "diarizing", "summarizing"}


def test_progress_only_grows_and_ends_at_the_total(endgame: Transcript, endgame_hook: Hook) -> None:
    assert list(dict.fromkeys(stage for stage, _, _ in endgame_hook.calls)) == [
        "transcribing",
        "diarizing",
        "summarizing",
    ]
    shares = [completed / total for _, completed, total in endgame_hook.calls]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] == pytest.approx(1.0)
    assert len({share for share in shares if 0 < share < 1}) >= 5


class Stop(Exception):
    """What a hook raises to end the work."""


@pytest.mark.parametrize("stage", ["transcribing", "diarizing", "summarizing"])
def test_what_the_hook_raises_ends_the_work_and_passes_through(pipeline: SpeechPipeline, stage: str) -> None:
    def hook(at: str, _completed: float, _total: float) -> None:
        if at == stage:
            raise Stop

    with pytest.raises(Stop):
        pipeline.transcribe(BECKETT, EVERYTHING, hook)
    # and the engines still work
    assert pipeline.transcribe(BECKETT, TranscriptionOptions(), Hook()).segments


@pytest.fixture(scope="module")
def odd_recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("odd")
    speech = np.asarray(decode_recording(BECKETT).samples)
    return {
        "silence": sounds.write_audio(folder / "silence.wav", sounds.silence(4.0)),
        "a tenth of silence": sounds.write_audio(folder / "short.wav", sounds.silence(0.1)),
        "a tenth of noise": sounds.write_audio(folder / "click.wav", sounds.noise(0.1)),
        "noise": sounds.write_audio(folder / "noise.wav", sounds.noise(8.0)),
        "faint noise": sounds.write_audio(folder / "faint.wav", sounds.noise(8.0, level=0.001)),
        "a tone": sounds.write_audio(folder / "tone.wav", sounds.tone(5.0)),
        "music": sounds.write_audio(folder / "music.wav", sounds.music(30.0, seed=2)),
        "telephone": sounds.write_audio(folder / "phone.wav", speech[::2], rate=8_000),
        "96 kHz 5.1": sounds.write_audio(
            folder / "surround.wav", np.repeat(speech, 6), rate=96_000, codec="pcm_s24le", layout="5.1"
        ),
        "stereo mp3": sounds.write_audio(folder / "a.mp3", speech, codec="libmp3lame", layout="stereo"),
        "a whisper": sounds.write_audio(folder / "quiet.wav", speech * 0.01),
        "clipped": sounds.write_audio(folder / "loud.wav", np.clip(speech * 20, -1, 1)),
        "a video": sounds.write_video(folder / "a.mp4", 10.0, speech),
    }


@pytest.mark.parametrize(
    "kind", ["silence", "a tenth of silence", "a tenth of noise", "noise", "faint noise", "a tone", "music"]
)
def test_what_is_no_speech_completes_with_an_empty_transcript(
    pipeline: SpeechPipeline, odd_recordings: dict[str, Path], kind: str
) -> None:
    hook = Hook()

    transcript = pipeline.transcribe(odd_recordings[kind], EVERYTHING, hook)

    assert transcript.text == ""
    assert transcript.segments == ()
    assert transcript.speakers == ()
    assert transcript.summary is None
    assert hook.calls[-1][1] == pytest.approx(hook.calls[-1][2])


@pytest.mark.parametrize("kind", ["telephone", "96 kHz 5.1", "stereo mp3", "a whisper", "clipped", "a video"])
def test_speech_is_understood_however_it_was_recorded(
    pipeline: SpeechPipeline, odd_recordings: dict[str, Path], kind: str
) -> None:
    transcript = pipeline.transcribe(odd_recordings[kind], WORDS, Hook())

    said = plain(transcript.text)
    assert len({"ever", "tried", "failed", "no", "matter", "try", "again", "better"} & set(said.split())) >= 6, said
    assert_well_formed(transcript)


def test_another_language_than_english_is_refused_with_the_way_out(pipeline: SpeechPipeline) -> None:
    with pytest.raises(JobFailure) as caught:
        pipeline.transcribe(BECKETT, TranscriptionOptions(language="fr"), Hook())

    assert caught.value.code == "language_unsupported"
    assert "faster-whisper" in caught.value.message


def test_an_unused_vocabulary_is_reported(pipeline: SpeechPipeline) -> None:
    transcript = pipeline.transcribe(BECKETT, TranscriptionOptions(vocabulary=("Vladimir",)), Hook())

    assert any("vocabulary" in warning for warning in transcript.warnings)


def test_speakers_and_summary_are_made_again_over_the_words_that_are_there(pipeline: SpeechPipeline) -> None:
    base = pipeline.transcribe(BECKETT, TranscriptionOptions(), Hook())
    hook = Hook()

    found = pipeline.diarize_again(BECKETT, base, TranscriptionOptions(diarization=True, num_speakers=1), hook)

    assert [word.text for word in words_of(found)] == [word.text for word in words_of(base)]
    assert [speaker.id for speaker in found.speakers] == ["SPEAKER_00"]
    assert_well_formed(found)
    assert {stage for stage, *_ in hook.calls} == {"diarizing"}
    assert hook.calls[-1][1] == hook.calls[-1][2]
    assert set(found.compute_seconds) == {"decoding", "finding_speech", "diarizing"}
    summed_up = pipeline.summarize_again(found, Hook())
    assert summed_up.summary is not None
    assert summed_up.segments == found.segments
    assert set(summed_up.compute_seconds) == {"summarizing"}


def test_the_real_length_is_told_before_any_engine_starts(pipeline: SpeechPipeline) -> None:
    hook, measured = Hook(), []

    def refuse(duration_seconds: float, plan: object = None) -> None:
        measured.append(duration_seconds)
        raise JobFailure("insufficient_credits", "too long for the money")

    with pytest.raises(JobFailure, match="too long for the money"):
        pipeline.transcribe(BECKETT, EVERYTHING, hook, on_measured=refuse)
    assert measured == [pytest.approx(9.963, abs=0.001)]
    assert hook.calls == []


@pytest.mark.parametrize(
    ("call", "what"),
    [("Transcriber.transcribe_without_streaming", "speech"), ("transcriber.Stream.add_audio", "speaker")],
)
def test_an_engine_that_breaks_fails_the_job_with_a_code_and_works_the_next_time(
    pipeline: SpeechPipeline, monkeypatch: pytest.MonkeyPatch, call: str, what: str
) -> None:
    from moonshine_voice import MoonshineError

    def broken(*_: object, **__: object) -> None:
        raise MoonshineError("ORT: bad allocation at 0x7f")

    with monkeypatch.context() as patched:
        patched.setattr(f"moonshine_voice.{call}", broken)
        with pytest.raises(JobFailure) as caught:
            pipeline.transcribe(BECKETT, EVERYTHING, Hook())

    assert (caught.value.code, caught.value.message) == (
        "engine_failed",
        f"The {what} engine failed on this recording.",
    )
    assert pipeline.transcribe(BECKETT, EVERYTHING, Hook()).segments
