"""What is asked: articles, and the parties to look for. Every place is in code points, as Python
indexes strings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from copydesk.v1 import article_pb2, classifier_pb2


@dataclass(frozen=True, slots=True)
class PartySpan:
    """Where the text names a party: `text[start:end]`, or that of the ready-cut `sentence`."""

    start: int
    end: int
    # With ready-cut sentences, required: the one, from 0, that the offsets count in.
    sentence: int | None = None


@dataclass(frozen=True, slots=True)
class Party:
    """A party to look for: a person, organisation, company, government, country or movement."""

    # The caller's own; comes back in the answer. Unique in the article.
    id: str
    # Searched in the text, and so are its aliases, unless there are spans.
    name: str = ""
    aliases: Sequence[str] = ()
    # Exact mentions; if there is any, these are the party's only ones.
    spans: Sequence[PartySpan] = ()


@dataclass(frozen=True, slots=True)
class Article:
    """An article: its running `text`, or `sentences` that are cut already; one of the two.

    `headline` is read as context and not answered. `parties` left out: the model finds them; empty:
    none are looked for; otherwise these and no others. `id` comes back with the answer.
    """

    text: str | None = None
    id: str = ""
    headline: str = ""
    sentences: Sequence[str] | None = None
    parties: Sequence[Party] | None = None

    def __post_init__(self) -> None:
        if (self.text is None) == (self.sentences is None):
            raise ValueError("an article has either text or sentences")
        if isinstance(self.sentences, str):
            raise TypeError("sentences is a list of them; running text is text")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Article:
        """An article as a line of JSON has it, for `copydesk classify` and here alike.

        Raises a TypeError for a field that is unknown or missing, and a ValueError for an article
        with neither text nor sentences, or both. `source` and `date`, which archives carry, are
        passed over.
        """
        rest = {name: value for name, value in values.items() if name not in ("source", "date")}
        parties = rest.pop("parties", None)
        named = {name: rest.pop(name) or "" for name in ("id", "headline") if name in rest}
        found = None if parties is None else [_party(**party) for party in parties]
        return cls(**named, **rest, parties=found)


def _party(
    id: str, name: str = "", aliases: Sequence[str] = (), spans: Sequence[Mapping[str, Any]] = ()
) -> Party:
    return Party(id, name, tuple(aliases), tuple(PartySpan(**span) for span in spans))


def to_request(
    article: Article | str, min_confidence: float | None
) -> classifier_pb2.ClassifyArticleRequest:
    """An article, or its text alone, as it is sent."""
    asked = Article(text=article) if isinstance(article, str) else article
    message = article_pb2.Article(id=asked.id, headline=asked.headline)
    if asked.text is not None:
        message.text = asked.text
    else:
        message.sentences.items.extend(asked.sentences or ())
    if asked.parties is not None:
        # An empty list stands for something else than none.
        message.parties.SetInParent()
        message.parties.items.extend(_to_party(party) for party in asked.parties)
    options = article_pb2.ClassifyOptions()
    if min_confidence is not None:
        options.min_confidence = min_confidence
    return classifier_pb2.ClassifyArticleRequest(article=message, options=options)


def _to_party(party: Party) -> article_pb2.Party:
    spans = [
        article_pb2.PartySpan(
            code_points=article_pb2.OffsetRange(start=span.start, end=span.end),
            sentence_index=span.sentence,
        )
        for span in party.spans
    ]
    return article_pb2.Party(id=party.id, name=party.name, aliases=party.aliases, spans=spans)
