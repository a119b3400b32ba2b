"""Asks a copydesk server about articles: plain text, one article a file, or JSON Lines.

    python classify.py ../articles/diplomacy.txt
    python classify.py --format jsonl ../articles/articles.jsonl

Reads and writes what `copydesk classify` does. Exit codes: 0 done, 1 something failed, 2 wrong
arguments.
"""

from __future__ import annotations

import argparse
import codecs
import json
import math
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from copydesk_client import (
    Answer,
    Article,
    ClassifyOptions,
    Client,
    CopydeskError,
    Failure,
    OffsetRange,
    Party,
    PartyList,
    PartySpan,
    Quotation,
    QuotationKind,
    Restart,
    Sentence,
    SentenceList,
    SentenceType,
    Sentiment,
    Summary,
)

Json = dict[str, Any]

TYPES = ("quote", "background", "reaction", "boilerplate", "report")
SENTIMENTS = ("negative", "neutral", "positive")


def main() -> int:
    parser = argparse.ArgumentParser(description="Asks a copydesk server about articles.")
    parser.add_argument("files", metavar="FILE", nargs="+", help="plain text or .jsonl; - is stdin")
    parser.add_argument("--server", metavar="URL", default="http://127.0.0.1:50051")
    parser.add_argument("--root-certificates", metavar="FILE", type=Path, help="PEM, with https://")
    parser.add_argument("--certificate", metavar="FILE", type=Path, help="PEM, for the server")
    parser.add_argument("--key", metavar="FILE", type=Path, help="PEM, of --certificate")
    parser.add_argument("--token-file", metavar="FILE", type=Path, help="what lets the client in")
    parser.add_argument("--timeout", metavar="SECONDS", type=float, default=300.0)
    parser.add_argument("--min-confidence", metavar="0..1", type=float)
    parser.add_argument("--format", choices=("text", "jsonl"), default="text")
    arguments = parser.parse_args()
    options = ClassifyOptions(min_confidence=arguments.min_confidence)
    roots, token = arguments.root_certificates, arguments.token_file
    if bool(arguments.certificate) != bool(arguments.key):
        parser.error("--certificate and --key go together")
    certificate = arguments.certificate and (
        arguments.certificate.read_bytes(),
        arguments.key.read_bytes(),
    )
    items = (item for name in arguments.files for item in read(name))
    answer = page if arguments.format == "text" else json_lines
    with Client(
        arguments.server,
        root_certificates=roots.read_bytes() if roots else None,
        certificate=certificate,
        token=token.read_text(encoding="utf-8").strip() if token else None,
        timeout=arguments.timeout,
    ) as client:
        try:
            failed = answer(client, items, options)
        except CopydeskError as error:
            print(error, file=sys.stderr)
            return 1
    return 1 if failed else 0


# Answers as a page to read, sentence by sentence as they come.


def page(client: Client, items: Iterable[Article | Failure], options: ClassifyOptions) -> int:
    failed = 0
    for item in items:
        if isinstance(item, Failure):
            failed += warn(item)
            continue
        print(f"{item.id}\n", flush=True)
        try:
            for event in client.stream(item, options):
                print(lines(event), flush=True)
        except CopydeskError as error:
            failed += warn(Failure(item.id, error))
        print()
    return failed


def lines(event: Sentence | Restart | Summary) -> str:
    match event:
        case Sentence():
            text = " ".join(event.text.split())
            out = [f"{event.index + 1:>3}  {label(SentenceType, event.type):<12} {text}"]
            if event.HasField("speaker"):
                out.append(f"     speaker: {event.speaker.text}")
            if event.parties:
                parties = (f"{p.name} {label(Sentiment, p.sentiment)}" for p in event.parties)
                out.append(f"     parties: {', '.join(parties)}")
            return "\n".join(out)
        case Summary():
            counts = (f"{getattr(event.type_counts, t)} {t}" for t in TYPES)
            return f"\n{event.sentence_count} sentences: {', '.join(counts)}"
        case Restart():
            return "\n(the answer broke off and begins anew)\n"
    raise AssertionError(event)


def warn(failure: Failure) -> int:
    print(f"{failure.article_id}: {failure.error}", file=sys.stderr)
    return 1


# Answers as JSON Lines, several articles under way at a time.


def json_lines(client: Client, items: Iterable[Article | Failure], options: ClassifyOptions) -> int:
    failed = 0
    for outcome in in_order(client, items, options):
        match outcome:
            case Answer():
                line = to_json(outcome)
            case Failure():
                failed += warn(outcome)
                error = {"code": outcome.error.code.name, "message": outcome.error.message}
                line = {"id": outcome.article_id, "error": error}
        print(json.dumps(line, ensure_ascii=False, separators=(",", ":")), flush=True)
    return failed


def in_order(
    client: Client, items: Iterable[Article | Failure], options: ClassifyOptions
) -> Iterator[Answer | Failure]:
    """Answers to all; what could not be read keeps its place among them."""
    places: deque[Failure | None] = deque()  # None: an article under way.

    def articles() -> Iterator[Article]:
        for item in items:
            if isinstance(item, Failure):
                places.append(item)
            else:
                places.append(None)
                yield item

    for outcome in client.classify_all(articles(), options):
        while (unread := places.popleft()) is not None:
            yield unread
        yield outcome
    yield from (place for place in places if place is not None)


def to_json(answer: Answer) -> Json:
    summary = answer.summary
    return {
        "id": answer.article_id,
        "model": {
            "id": summary.model.id,
            "revision": summary.model.revision,
            "sha256": summary.model.sha256,
        },
        "sentences": [sentence_json(s) for s in answer.sentences],
        "types": counts(summary.type_counts, TYPES),
        "parties": [
            {
                "id": p.id,
                "name": p.name,
                "aliases": list(p.aliases),
                "mentions": p.mention_count,
                "sentences": p.sentence_count,
                "sentiment": counts(p.sentiment_counts, SENTIMENTS),
            }
            for p in summary.parties
        ],
        "language": {
            "code": summary.detected_language,
            "supported": summary.language_supported,
        },
        "timings": {
            "queue": seconds(summary.timings.queue),
            "tokenize": seconds(summary.timings.tokenize),
            "encode": seconds(summary.timings.encode),
            "total": seconds(summary.timings.total),
        },
    }


def sentence_json(sentence: Sentence) -> Json:
    speaker = sentence.speaker
    return {
        "index": sentence.index,
        "paragraph": sentence.paragraph,
        **offsets(sentence.span),
        "text": sentence.text,
        "type": label(SentenceType, sentence.type),
        "type_scores": scores(sentence.type_scores, TYPES),
        "quotations": [quotation_json(q) for q in sentence.quotations],
        "speaker": {
            "text": speaker.text,
            "sentence": speaker.sentence_index,
            **offsets(speaker.span),
            "party": speaker.party_id if speaker.HasField("party_id") else None,
            "inherited": speaker.inherited,
        }
        if sentence.HasField("speaker")
        else None,
        "parties": [
            {
                "party": p.party_id,
                "sentiment": label(Sentiment, p.sentiment),
                "scores": scores(p.scores, SENTIMENTS),
                "mentions": [{**offsets(m.span), "text": m.text} for m in p.mentions],
            }
            for p in sentence.parties
        ],
    }


def quotation_json(quotation: Quotation) -> Json:
    kind = label(QuotationKind, quotation.kind)
    return {**offsets(quotation.span), "kind": kind, "running": quotation.running}


def offsets(span: Any) -> dict[str, int]:
    return {"start": span.code_point_start, "end": span.code_point_end}


def label(enum: Any, value: int) -> str:
    """The name of a value without its enum's: SENTENCE_TYPE_QUOTE is "quote"."""
    names: dict[int, str] = {number: name for name, number in enum.items()}
    prefix = len(names[0]) - len("UNSPECIFIED")
    return names[value][prefix:].lower() if value in names else "unspecified"


def scores(message: Any, names: Iterable[str]) -> dict[str, float]:
    """To four decimals: more would only say noise."""
    return {name: math.floor(getattr(message, name) * 1e4 + 0.5) / 1e4 for name in names}


def counts(message: Any, names: Iterable[str]) -> dict[str, int]:
    return {name: getattr(message, name) for name in (*names, "unspecified")}


def seconds(duration: Duration) -> float:
    return duration.seconds + round(duration.nanos / 1e9, 6)


# Articles from files; what cannot be read is named, and the rest goes on.


def read(name: str) -> Iterator[Article | Failure]:
    source = "stdin" if name == "-" else name
    try:
        with open(0 if name == "-" else name, "rb") as file:
            start = file.peek(1).removeprefix(codecs.BOM_UTF8).lstrip()
            if source.endswith(".jsonl") or start.startswith(b"{"):
                for number, line in enumerate(file, 1):
                    if line.strip():
                        yield parse(f"{source}:{number}", line)
            else:
                yield Article(id=source, text=file.read().decode("utf-8-sig"))
    except OSError as error:
        yield unreadable(source, f"cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        yield unreadable(source, f"is not UTF-8: byte {error.start} cannot be read")


def parse(place: str, line: bytes) -> Article | Failure:
    try:
        spec = json.loads(line.decode("utf-8-sig"))
        return to_article(place, **spec)
    # A field that is unknown, or of another kind than it should be, is a TypeError.
    except (TypeError, ValueError) as error:
        return unreadable(place, f"is no article: {error}")


def to_article(
    place: str,
    id: str | None = None,
    headline: str | None = None,
    text: str | None = None,
    sentences: list[str] | None = None,
    parties: list[Json] | None = None,
    source: object = None,  # Carried by archives; not looked at, and neither is the date.
    date: object = None,
) -> Article:
    if (text is None) == (sentences is None):
        raise ValueError("one of text and sentences is needed")
    return Article(
        id=id or place,
        headline=headline,
        text=text,
        sentences=None if sentences is None else SentenceList(items=sentences),
        # Left out: the model finds them. An empty list: none are looked for.
        parties=None if parties is None else PartyList(items=[to_party(**p) for p in parties]),
    )


def to_party(
    id: str, name: str = "", aliases: Iterable[str] = (), spans: Iterable[Json] = ()
) -> Party:
    return Party(id=id, name=name, aliases=aliases, spans=[to_span(**s) for s in spans])


def to_span(start: int, end: int, sentence: int | None = None) -> PartySpan:
    return PartySpan(code_points=OffsetRange(start=start, end=end), sentence_index=sentence)


def unreadable(source: str, problem: str) -> Failure:
    return Failure(source, CopydeskError(grpc.StatusCode.INVALID_ARGUMENT, problem))


if __name__ == "__main__":
    sys.exit(main())
