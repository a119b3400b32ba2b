"""A client of copydesk, which reads news copy: it cuts an article into sentences and says of each
what kind it is, whose words it carries, and how it makes each party look.

    from copydesk import Client

    with Client("http://127.0.0.1:50051") as client:
        answer = client.classify("The league met. “We go,” said Ida Brandt.")
        for sentence in answer.sentences:
            print(sentence.type, sentence.text)

`AsyncClient` is the same for asyncio, `copydesk.frames` makes tables for pandas, and `copydesk.v1`
holds the contract's own messages and stubs.
"""

from copydesk.aio import AsyncClient
from copydesk.answer import (
    Answer,
    Failure,
    Limits,
    Mention,
    MentionLocation,
    Model,
    ModelIdentity,
    PartySentiment,
    PartySummary,
    Quotation,
    QuotationKind,
    Restart,
    Sentence,
    SentenceType,
    Sentiment,
    Speaker,
    Summary,
    Timings,
)
from copydesk.article import Article, Party, PartySpan
from copydesk.client import Client
from copydesk.error import CopydeskError

__all__ = [
    "Answer",
    "Article",
    "AsyncClient",
    "Client",
    "CopydeskError",
    "Failure",
    "Limits",
    "Mention",
    "MentionLocation",
    "Model",
    "ModelIdentity",
    "Party",
    "PartySentiment",
    "PartySpan",
    "PartySummary",
    "Quotation",
    "QuotationKind",
    "Restart",
    "Sentence",
    "SentenceType",
    "Sentiment",
    "Speaker",
    "Summary",
    "Timings",
]
