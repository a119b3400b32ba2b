"""What comes back. Every place is in code points, as Python indexes strings: `text[s.start:s.end]`
is `s.text`. With ready-cut sentences, offsets count from the start of the sentence that they stand
in.

Names are those of copydesk's JSON, and `Answer.to_dict` makes that JSON.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from google.protobuf.duration_pb2 import Duration

from copydesk.error import CopydeskError
from copydesk.v1 import answer_pb2, classifier_pb2, model_pb2

# Members of the enums below stand in the order of their numbers in the contract.


class SentenceType(StrEnum):
    """What a sentence does in its article."""

    # The best score is below `min_confidence`; or a type that this client does not know.
    UNSPECIFIED = "unspecified"
    QUOTE = "quote"
    BACKGROUND = "background"
    REACTION = "reaction"
    BOILERPLATE = "boilerplate"
    REPORT = "report"


class Sentiment(StrEnum):
    """How a sentence makes a party look to a reader who knows nothing else."""

    # The best score is below `min_confidence`; or a sentiment that this client does not know.
    UNSPECIFIED = "unspecified"
    NEGATIVE = "negative"
    NEUTRAL = "neutral"
    POSITIVE = "positive"


class QuotationKind(StrEnum):
    """How words are quoted."""

    # A kind that this client does not know.
    UNSPECIFIED = "unspecified"
    # The speaker's own words between marks, a clause or more.
    DIRECT = "direct"
    # No marks: the writer reports the words.
    INDIRECT = "indirect"
    # A fragment between marks within the writer's own sentence.
    MIXED = "mixed"


TYPES = tuple(SentenceType)[1:]
SENTIMENTS = tuple(Sentiment)[1:]


@dataclass(frozen=True, slots=True)
class Quotation:
    """Words that a sentence quotes or reports: without their marks, or the whole sentence if the
    kind is indirect."""

    start: int
    end: int
    kind: QuotationKind
    # Whether it is still open at the end of the sentence and goes on in the next.
    running: bool
    # Whether it began in an earlier sentence.
    opened_before: bool


@dataclass(frozen=True, slots=True)
class Speaker:
    """Whose words a sentence carries."""

    # As the text names it: "Wang", "the ministry", "she".
    text: str
    # The sentence, from 0, in which it is named: this one or, if inherited, an earlier one or the one in
    # which the quotation ends.
    sentence: int
    start: int
    end: int
    # Id of the party that it is; None if it is none of the article's.
    party: str | None
    # Whether another sentence names the speaker: the words run on from it, or up to it.
    inherited: bool


@dataclass(frozen=True, slots=True)
class Mention:
    """Where a sentence names a party, and the words there."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class PartySentiment:
    """How one sentence makes one party look."""

    # Its id: the caller's, or "p1", "p2", … where the model found it.
    party: str
    # The caller's name, or the fullest that the model knew by then.
    name: str
    sentiment: Sentiment
    # Probability of each sentiment, together 1.
    scores: Mapping[Sentiment, float]
    # At least one, in the order of the text.
    mentions: tuple[Mention, ...]


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence, answered."""

    # Numbers in the article, from 0.
    index: int
    paragraph: int
    start: int
    end: int
    text: str
    type: SentenceType
    # Probability of each type, together 1.
    type_scores: Mapping[SentenceType, float]
    quotations: tuple[Quotation, ...]
    # None where nobody's words are carried, or no speaker is found.
    speaker: Speaker | None
    # The parties that it names, in the order of their first mention.
    parties: tuple[PartySentiment, ...]


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which model it is. The same digest means the same model, whatever it is called."""

    id: str
    revision: str
    sha256: str


@dataclass(frozen=True, slots=True)
class MentionLocation:
    """Where the article names a party: the number of the sentence, and the place."""

    sentence: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class PartySummary:
    """A party over the whole article."""

    id: str
    # The caller's name, or the fullest that the model found; and the other names.
    name: str
    aliases: tuple[str, ...]
    # Every mention, those in boilerplate included.
    mentions: tuple[MentionLocation, ...]
    # Number of sentences that name it, boilerplate left out; and the same by sentiment.
    sentence_count: int
    sentiment_counts: Mapping[Sentiment, int]


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time went in the server, in seconds. Windows are worked on side by side, so that
    `queue` and `encode` may each exceed `total`."""

    queue: float
    tokenize: float
    encode: float
    total: float


@dataclass(frozen=True, slots=True)
class Summary:
    """What the article comes to; the end of an answer."""

    model: ModelIdentity
    sentence_count: int
    type_counts: Mapping[SentenceType, int]
    parties: tuple[PartySummary, ...]
    # ISO 639-3 ("eng"); empty if unsure.
    language: str
    # False if the text is surely in a language that the model was not trained for.
    language_supported: bool
    timings: Timings


@dataclass(frozen=True, slots=True)
class Restart:
    """The answer broke off and begins anew: drop the sentences that came before."""

    # Why it broke off.
    error: CopydeskError


@dataclass(frozen=True, slots=True)
class Answer:
    """The whole answer to an article."""

    article_id: str
    sentences: tuple[Sentence, ...]
    summary: Summary

    def to_dict(self) -> dict[str, Any]:
        """As a line of `copydesk classify --format jsonl` has it; scores to four decimals."""
        summary = self.summary
        return {
            "id": self.article_id,
            "model": {
                "id": summary.model.id,
                "revision": summary.model.revision,
                "sha256": summary.model.sha256,
            },
            "sentences": [_sentence_dict(sentence) for sentence in self.sentences],
            "types": _counts_dict(summary.type_counts),
            "parties": [
                {
                    "id": party.id,
                    "name": party.name,
                    "aliases": list(party.aliases),
                    "mentions": len(party.mentions),
                    "sentences": party.sentence_count,
                    "sentiment": _counts_dict(party.sentiment_counts),
                }
                for party in summary.parties
            ],
            "language": {"code": summary.language, "supported": summary.language_supported},
            "timings": {
                "queue": summary.timings.queue,
                "tokenize": summary.timings.tokenize,
                "encode": summary.timings.encode,
                "total": summary.timings.total,
            },
        }


@dataclass(frozen=True, slots=True)
class Failure:
    """An article of a corpus that has no answer, and why."""

    article_id: str
    error: CopydeskError

    def to_dict(self) -> dict[str, Any]:
        """As a line of `copydesk classify --format jsonl` has it."""
        error = {"code": self.error.code.name, "message": self.error.message}
        return {"id": self.article_id, "error": error}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may hold: bytes of UTF-8, or numbers; all inclusive."""

    request_bytes: int
    text_bytes: int
    headline_bytes: int
    sentences: int
    parties: int
    aliases: int
    spans: int
    name_bytes: int


@dataclass(frozen=True, slots=True)
class Model:
    """The model of a server, its limits and the server's build."""

    identity: ModelIdentity
    # ISO 639-3.
    languages: tuple[str, ...]
    # Tokens read at once; no limit on articles.
    window_tokens: int
    limits: Limits
    # "cpu-f32", "cpu-bf16", "cpu-int16", "cuda:0", …
    device: str
    # The server's version, and the commit that it was built from; empty if unknown.
    version: str
    git_commit: str


# From messages.


def to_sentence(message: answer_pb2.Sentence) -> Sentence:
    return Sentence(
        index=message.index,
        paragraph=message.paragraph,
        start=message.span.code_point_start,
        end=message.span.code_point_end,
        text=message.text,
        type=_member(SentenceType, message.type),
        type_scores=_by_label(TYPES, message.type_scores),
        quotations=tuple(_quotation(quotation) for quotation in message.quotations),
        speaker=_speaker(message.speaker) if message.HasField("speaker") else None,
        parties=tuple(_party_sentiment(party) for party in message.parties),
    )


def to_summary(message: answer_pb2.Summary) -> Summary:
    timings = message.timings
    return Summary(
        model=_identity(message.model),
        sentence_count=message.sentence_count,
        type_counts=_by_label((*TYPES, SentenceType.UNSPECIFIED), message.type_counts),
        parties=tuple(_party_summary(party) for party in message.parties),
        language=message.detected_language,
        language_supported=message.language_supported,
        timings=Timings(
            queue=_seconds(timings.queue),
            tokenize=_seconds(timings.tokenize),
            encode=_seconds(timings.encode),
            total=_seconds(timings.total),
        ),
    )


def to_model(message: classifier_pb2.GetModelResponse) -> Model:
    limits = message.limits
    return Model(
        identity=_identity(message.model.identity),
        languages=tuple(message.model.languages),
        window_tokens=message.model.window_tokens,
        limits=Limits(
            request_bytes=limits.request_bytes,
            text_bytes=limits.text_bytes,
            headline_bytes=limits.headline_bytes,
            sentences=limits.sentences,
            parties=limits.parties,
            aliases=limits.aliases,
            spans=limits.spans,
            name_bytes=limits.name_bytes,
        ),
        device=message.device,
        version=message.build.version,
        git_commit=message.build.git_commit,
    )


def _quotation(message: answer_pb2.Quotation) -> Quotation:
    return Quotation(
        start=message.span.code_point_start,
        end=message.span.code_point_end,
        kind=_member(QuotationKind, message.kind),
        running=message.running,
        opened_before=message.opened_before,
    )


def _speaker(message: answer_pb2.Speaker) -> Speaker:
    return Speaker(
        text=message.text,
        sentence=message.sentence_index,
        start=message.span.code_point_start,
        end=message.span.code_point_end,
        party=message.party_id if message.HasField("party_id") else None,
        inherited=message.inherited,
    )


def _party_sentiment(message: answer_pb2.PartySentiment) -> PartySentiment:
    return PartySentiment(
        party=message.party_id,
        name=message.name,
        sentiment=_member(Sentiment, message.sentiment),
        scores=_by_label(SENTIMENTS, message.scores),
        mentions=tuple(
            Mention(m.span.code_point_start, m.span.code_point_end, m.text)
            for m in message.mentions
        ),
    )


def _party_summary(message: answer_pb2.PartySummary) -> PartySummary:
    return PartySummary(
        id=message.id,
        name=message.name,
        aliases=tuple(message.aliases),
        mentions=tuple(
            MentionLocation(m.sentence_index, m.span.code_point_start, m.span.code_point_end)
            for m in message.mentions
        ),
        sentence_count=message.sentence_count,
        sentiment_counts=_by_label((*SENTIMENTS, Sentiment.UNSPECIFIED), message.sentiment_counts),
    )


def _identity(message: model_pb2.ModelIdentity) -> ModelIdentity:
    return ModelIdentity(message.id, message.revision, message.sha256)


Label = TypeVar("Label", bound=StrEnum)


def _member(labels: type[Label], number: int) -> Label:
    members = tuple(labels)
    # A later version may send what this one does not know.
    return members[number] if 0 <= number < len(members) else members[0]


def _by_label(labels: Iterable[Label], message: Any) -> dict[Label, Any]:
    """The fields of a message that has one for each label."""
    return {label: getattr(message, label) for label in labels}


def _seconds(duration: Duration) -> float:
    return duration.seconds + round(duration.nanos / 1e9, 6)


# To JSON.


def rounded(score: float) -> float:
    """To four decimals: more would only say noise."""
    return math.floor(score * 1e4 + 0.5) / 1e4


def _sentence_dict(sentence: Sentence) -> dict[str, Any]:
    speaker = sentence.speaker
    return {
        "index": sentence.index,
        "paragraph": sentence.paragraph,
        "start": sentence.start,
        "end": sentence.end,
        "text": sentence.text,
        "type": str(sentence.type),
        "type_scores": _scores_dict(sentence.type_scores),
        "quotations": [
            {"start": q.start, "end": q.end, "kind": str(q.kind), "running": q.running}
            for q in sentence.quotations
        ],
        "speaker": speaker
        and {
            "text": speaker.text,
            "sentence": speaker.sentence,
            "start": speaker.start,
            "end": speaker.end,
            "party": speaker.party,
            "inherited": speaker.inherited,
        },
        "parties": [
            {
                "party": party.party,
                "sentiment": str(party.sentiment),
                "scores": _scores_dict(party.scores),
                "mentions": [
                    {"start": m.start, "end": m.end, "text": m.text} for m in party.mentions
                ],
            }
            for party in sentence.parties
        ],
    }


def _scores_dict(scores: Mapping[Label, float]) -> dict[str, float]:
    return {str(label): rounded(score) for label, score in scores.items()}


def _counts_dict(counts: Mapping[Label, int]) -> dict[str, int]:
    return {str(label): count for label, count in counts.items()}
