"""Answers as pandas tables, with the columns that `copydesk classify --format csv` writes. Needs
pandas: `pip install "copydesk[pandas]"`.

Failures are passed over: they have no row. Several values of one cell are joined by " | ".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from copydesk.answer import (
    SENTIMENTS,
    TYPES,
    Answer,
    Failure,
    PartySentiment,
    QuotationKind,
    Sentence,
    Sentiment,
    rounded,
)

# By pandas' type. Those with gaps hold `pandas.NA`.
SENTENCE_COLUMNS = {
    "id": "string",
    "sentence": "int64",
    "paragraph": "int64",
    "start": "int64",
    "end": "int64",
    "text": "string",
    "type": "string",
    "type_score": "float64",
    **{f"score_{label}": "float64" for label in TYPES},
    "quotation": "string",
    "quoted": "string",
    "speaker": "string",
    "speaker_party": "string",
    "speaker_inherited": "boolean",
    "negative": "string",
    "neutral": "string",
    "positive": "string",
    "language": "string",
    "model": "string",
}

PARTY_COLUMNS = {
    "id": "string",
    "sentence": "int64",
    "paragraph": "int64",
    "type": "string",
    "party": "string",
    "name": "string",
    "sentiment": "string",
    **{f"score_{label}": "float64" for label in SENTIMENTS},
    "mentions": "int64",
    "mention": "string",
    "mention_start": "int64",
    "mention_end": "int64",
    "speaks": "bool",
    "text": "string",
    "language": "string",
    "model": "string",
}

_JOINT = " | "


def sentence_frame(outcomes: Iterable[Answer | Failure]) -> pd.DataFrame:
    """One row a sentence; columns as in `SENTENCE_COLUMNS`, told in the README's table."""
    rows = (
        _sentence_row(shared, sentence)
        for shared in _answers(outcomes)
        for sentence in shared.answer.sentences
    )
    return _frame(rows, SENTENCE_COLUMNS)


def party_frame(outcomes: Iterable[Answer | Failure]) -> pd.DataFrame:
    """One row a sentence and party that it names; columns as in `PARTY_COLUMNS`."""
    rows = (
        _party_row(shared, sentence, party)
        for shared in _answers(outcomes)
        for sentence in shared.answer.sentences
        for party in sentence.parties
    )
    return _frame(rows, PARTY_COLUMNS)


def _frame(rows: Iterable[list[Any]], columns: dict[str, str]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(columns)).astype(columns)


class _Shared:
    """What all rows of an article share."""

    def __init__(self, answer: Answer) -> None:
        summary = answer.summary
        self.answer = answer
        self.ends = [summary.language or None, f"{summary.model.id} {summary.model.revision}"]
        self._names = {party.id: party.name for party in summary.parties}

    def name(self, party: PartySentiment) -> str:
        """The fullest, which only the summary knows."""
        return self._names.get(party.party, party.name)

    def judged(self, sentence: Sentence, sentiment: Sentiment) -> str | None:
        names = (self.name(p) for p in sentence.parties if p.sentiment is sentiment)
        return _JOINT.join(names) or None


def _answers(outcomes: Iterable[Answer | Failure]) -> Iterator[_Shared]:
    return (_Shared(outcome) for outcome in outcomes if isinstance(outcome, Answer))


def _sentence_row(shared: _Shared, sentence: Sentence) -> list[Any]:
    scores, speaker = sentence.type_scores, sentence.speaker
    return [
        shared.answer.article_id,
        sentence.index,
        sentence.paragraph,
        sentence.start,
        sentence.end,
        sentence.text,
        str(sentence.type),
        rounded(scores.get(sentence.type, max(scores.values()))),
        *(rounded(scores[label]) for label in TYPES),
        str(sentence.quotations[0].kind) if sentence.quotations else None,
        _quoted(sentence),
        speaker.text if speaker else None,
        speaker.party if speaker else None,
        speaker.inherited if speaker else None,
        *(shared.judged(sentence, sentiment) for sentiment in SENTIMENTS),
        *shared.ends,
    ]


def _party_row(shared: _Shared, sentence: Sentence, party: PartySentiment) -> list[Any]:
    first, speaker = party.mentions[0], sentence.speaker
    return [
        shared.answer.article_id,
        sentence.index,
        sentence.paragraph,
        str(sentence.type),
        party.party,
        shared.name(party),
        str(party.sentiment),
        *(rounded(party.scores[label]) for label in SENTIMENTS),
        len(party.mentions),
        first.text,
        first.start,
        first.end,
        speaker is not None and speaker.party == party.party,
        sentence.text,
        *shared.ends,
    ]


def _quoted(sentence: Sentence) -> str | None:
    """The words between quotation marks."""
    between = (q for q in sentence.quotations if q.kind is not QuotationKind.INDIRECT)
    words = (sentence.text[q.start - sentence.start : q.end - sentence.start] for q in between)
    return _JOINT.join(filter(None, words)) or None
