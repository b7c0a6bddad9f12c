"""A summary made of the talk's own sentences, and its topics: no model, no download, any language with spaces.

Sentences are ranked as LexRank does (Erkan and Radev, 2004): a sentence matters if it resembles many that matter.
Topics come from YAKE (Campos et al., 2020).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gpu_jobs.summarize import MAX_TOPIC_CHARS, MAX_TOPICS, TalkNotes
from shared.domain.scripts import ends_sentence, is_spaceless, join_texts
from shared.domain.transcripts import Segment, Summary

ENGINE = "extractive:lexrank+yake"
WEIGHT = 0.002
"""Seconds of work for a second of talk, roughly."""

MIN_SENTENCE_WORDS, MAX_SENTENCE_WORDS = 5, 60
SPACELESS_LETTERS_OF_A_WORD = 3  # roughly: two in Chinese and Japanese, four in Thai
MAX_SENTENCES_AT_ONCE = 1_000
"""The ranking is quadratic; longer talks are ranked in parts, then the best of each part together."""

DAMPING = 0.85
REDUNDANT_SIMILARITY = 0.6
MAX_TOPIC_WORDS = 3


class ExtractiveSummarizer:
    """The Summarizer that needs nothing."""

    weight = WEIGHT
    engine = ENGINE

    def summarize(self, segments: Sequence[Segment], language: str) -> TalkNotes | None:
        """The talk's own sentences, and its topics; no names."""
        summary = summarize(segments, language)
        return None if summary is None else TalkNotes(summary=summary)


def summarize(segments: Sequence[Segment], language: str) -> Summary | None:
    """Up to six sentences in the order they were said, and up to eight topics. None if nothing was said."""
    sentences = _sentences(segments)
    if not sentences:
        return None
    wanted = min(6, max(1, round(len(sentences) / 6)))
    chosen = sentences if len(sentences) <= 2 else _best(sentences, wanted)
    shown = [text if ends_sentence(text) else f"{text} …" for text in chosen[:-1]] + chosen[-1:]
    return Summary(text=join_texts(shown), topics=topics_of(" ".join(sentences), language))


def topics_of(text: str, language: str) -> tuple[str, ...]:
    """The talk's key phrases, most important first, none contained in another; () for a text without any.

    Where a script has no spaces, what the library takes for a phrase may be a whole talk: too long, and no topic.
    """
    import yake

    extractor = yake.KeywordExtractor(lan=language or "en", n=MAX_TOPIC_WORDS, dedupLim=0.7, top=4 * MAX_TOPICS)
    topics: list[str] = []
    for phrase, _ in extractor.extract_keywords(text):
        topic = phrase.strip().lower()
        fits = 0 < len(topic) <= MAX_TOPIC_CHARS
        if fits and not any(topic in other or other in topic for other in topics):
            topics.append(topic)
    return tuple(topics[:MAX_TOPICS])


def _sentences(segments: Sequence[Segment]) -> list[str]:
    """Sentences that say something; if all are short, all of them."""
    texts = _whole(segments)
    long_enough = [text for text in texts if _words_in(text) >= MIN_SENTENCE_WORDS]
    return list(dict.fromkeys(long_enough or texts))


def _whole(segments: Sequence[Segment]) -> list[str]:
    """Segments end at pauses, too: those of one speaker are joined up to a sentence's end, if it comes soon.

    A part of a sentence alone may say the opposite of it.
    """
    texts: list[str] = []
    before: Segment | None = None
    for segment in segments:
        text = segment.text.strip()
        if not text:
            continue
        goes_on = before is not None and before.speaker_id == segment.speaker_id and not ends_sentence(texts[-1])
        if goes_on and _words_in(texts[-1]) + _words_in(text) <= MAX_SENTENCE_WORDS:
            texts[-1] = join_texts([texts[-1], text])
        else:
            texts.append(text)
        before = segment
    return texts


def _words_in(text: str) -> int:
    return len(text.split()) + sum(map(is_spaceless, text)) // SPACELESS_LETTERS_OF_A_WORD


def _best(sentences: list[str], wanted: int) -> list[str]:
    while len(sentences) > MAX_SENTENCES_AT_ONCE:
        parts = [sentences[at : at + MAX_SENTENCES_AT_ONCE] for at in range(0, len(sentences), MAX_SENTENCES_AT_ONCE)]
        of_each = max(wanted, MAX_SENTENCES_AT_ONCE // len(parts) // 2)
        sentences = [text for part in parts for text in _best(part, of_each)]
    similarity = _similarity(sentences)
    ranks = _rank(similarity)
    chosen: list[int] = []
    for index in np.argsort(-ranks, kind="stable"):
        if all(similarity[index, other] < REDUNDANT_SIMILARITY for other in chosen):
            chosen.append(int(index))
        if len(chosen) == wanted:
            break
    return [sentences[index] for index in sorted(chosen)]


def _similarity(sentences: Sequence[str]) -> npt.NDArray[np.float64]:
    """Cosine of the TF-IDF vectors, shape (sentences, sentences), zero on the diagonal."""
    bags = [Counter(re.findall(r"\w+", sentence.lower())) for sentence in sentences]
    frequency = Counter(word for bag in bags for word in bag)
    column = {word: index for index, word in enumerate(frequency)}
    vectors = np.zeros((len(bags), len(column)))
    for row, bag in enumerate(bags):
        for word, count in bag.items():
            vectors[row, column[word]] = count * np.log(1 + len(bags) / frequency[word])
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    similarity: npt.NDArray[np.float64] = vectors @ vectors.T
    np.fill_diagonal(similarity, 0.0)
    return similarity


def _rank(similarity: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The stationary distribution of a walk from sentence to similar sentence, by power iteration."""
    count = len(similarity)
    totals = similarity.sum(axis=1, keepdims=True)
    steps = np.where(totals > 0, similarity / np.maximum(totals, 1e-12), 1 / count)
    ranks = np.full(count, 1 / count)
    for _ in range(50):
        ranks = (1 - DAMPING) / count + DAMPING * (ranks @ steps)
    return ranks
