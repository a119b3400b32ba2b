"""Answers a corpus on Spark: Parquet with `id`, `text` and, if there is one, `headline` in; a row
a sentence out, in the columns of `copydesk classify --format csv`.

    spark-submit classify.py --server http://envoy:50050 articles.parquet sentences.parquet

The servers do the work; an executor's core only keeps some articles under way, so a few cores feed
many servers. An article that cannot be answered has one row that says why in `error`. Tasks are
small, so that a worker that is lost costs little; what it had not finished is asked again, and
written once.

The job brings its client along, the package of `clients/python` as it lies there. Workers need Python 3.11 or later with `requirements.txt`. Exit codes: 0 done,
1 something failed, 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

if TYPE_CHECKING:
    from copydesk import Answer, Article, Failure, Sentence

CLIENT = Path(__file__).resolve().parents[2] / "clients" / "python" / "src"

TYPES = ("quote", "background", "reaction", "boilerplate", "report")
SENTIMENTS = ("negative", "neutral", "positive")

# As `copydesk classify --format csv` names and fills them, and why there is no answer.
COLUMNS = pa.schema(
    [
        ("id", pa.string()),
        ("sentence", pa.int64()),
        ("paragraph", pa.int64()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("text", pa.string()),
        ("type", pa.string()),
        ("type_score", pa.float64()),
        *((f"score_{name}", pa.float64()) for name in TYPES),
        ("quotation", pa.string()),
        ("quoted", pa.string()),
        ("speaker", pa.string()),
        ("speaker_party", pa.string()),
        ("speaker_inherited", pa.bool_()),
        *((name, pa.string()) for name in SENTIMENTS),
        ("language", pa.string()),
        ("model", pa.string()),
        ("error", pa.string()),
    ]
)
SQL = {pa.string(): "string", pa.int64(): "bigint", pa.float64(): "double", pa.bool_(): "boolean"}
SCHEMA = ", ".join(f"`{field.name}` {SQL[field.type]}" for field in COLUMNS)

# Rows that go back to Spark together.
ROWS = 2000

# Tries without any progress before a task fails; with the client's pauses more than two minutes.
# Spark then tries the task itself again.
TRIES = 30

Row = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("articles", help="Parquet: a file or a folder, wherever Spark reads")
    parser.add_argument("out", help="folder to be made")
    parser.add_argument(
        "--server", metavar="URL", required=True, help="http://host:port, or https://"
    )
    parser.add_argument("--root-certificates", metavar="FILE", type=Path, help="PEM, with https://")
    parser.add_argument("--token-file", metavar="FILE", type=Path, help="what lets the client in")
    parser.add_argument(
        "--ahead", metavar="N", type=int, default=8, help="articles under way a core"
    )
    parser.add_argument("--task", metavar="N", type=int, default=200, help="articles of a task")
    arguments = parser.parse_args()
    roots, token = arguments.root_certificates, arguments.token_file
    answer = answerer(
        arguments.server,
        ahead=arguments.ahead,
        root_certificates=roots.read_bytes() if roots else None,
        token=token.read_text(encoding="utf-8").strip() if token else None,
    )
    spark = SparkSession.builder.appName("copydesk").getOrCreate()
    try:
        # There to the end: an executor that comes late, in place of a lost one, fetches it too.
        with tempfile.TemporaryDirectory() as folder:
            spark.sparkContext.addPyFile(str(client(Path(folder))))
            articles = tasks(spark.read.parquet(arguments.articles), arguments.task)
            articles.mapInArrow(answer, SCHEMA).write.parquet(arguments.out)
            return tell(spark.read.parquet(arguments.out))
    finally:
        spark.stop()


def client(folder: Path) -> Path:
    """The client as Spark ships it."""
    package = CLIENT / "copydesk"
    archive = folder / "copydesk.zip"
    with zipfile.ZipFile(archive, "w") as out:
        # Folders too: without an entry of its own, Python does not see one in an archive.
        for path in (package, *sorted(package.rglob("*"))):
            if path.is_dir() or path.suffix == ".py":
                out.write(path, path.relative_to(CLIENT))
    return archive


def tasks(articles: DataFrame, size: int) -> DataFrame:
    """The same articles in tasks of about `size`. By a hash, so that a task that is run again gets
    the articles that it had."""
    columns = [name for name in ("id", "headline", "text") if name in articles.columns]
    count = max(1, math.ceil(articles.count() / size))
    return articles.select(columns).repartition(count, "id")


def tell(rows: DataFrame) -> int:
    """Prints what the answers come to; 1 if an article has none."""
    failed = rows.where("error is not null").select("id", "error")
    for row in failed.take(20):
        print(f"{row.id}: {row.error}", file=sys.stderr)
    sentences, failures = rows.where("error is null").count(), failed.count()
    articles = rows.where("error is null").select("id").distinct().count()
    print(f"{sentences} sentences of {articles} articles; {failures} failed")
    return 1 if failures else 0


def answerer(
    server: str, *, ahead: int, **more: Any
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """What a task does: articles in, rows out, over one connection and one stream."""

    def answer(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from copydesk import Article, Client

        ids: dict[str, str] = {}

        def articles() -> Iterator[Article]:
            number = 0
            for batch in batches:
                for article in batch.to_pylist():
                    # A corpus may hold an id twice; a stream may not.
                    ids[str(number)] = article["id"]
                    yield Article(
                        id=str(number),
                        headline=article.get("headline") or None,
                        text=article["text"] or "",
                    )
                    number += 1

        with Client(server, tries=TRIES, **more) as client:
            rows: list[Row] = []
            for outcome in client.classify_all(articles(), ahead=ahead):
                rows.extend(rows_of(ids.pop(outcome.article_id), outcome))
                if len(rows) >= ROWS:
                    yield pa.RecordBatch.from_pylist(rows, COLUMNS)
                    rows = []
            yield pa.RecordBatch.from_pylist(rows, COLUMNS)

    return answer


def rows_of(id: str, outcome: Answer | Failure) -> Iterator[Row]:
    from copydesk import Failure

    if isinstance(outcome, Failure):
        yield {"id": id, "error": str(outcome.error)}
        return
    summary = outcome.summary
    names = {party.id: party.name for party in summary.parties}
    about = {
        "id": id,
        "language": summary.language or None,
        "model": f"{summary.model.id} {summary.model.revision}",
    }
    for sentence in outcome.sentences:
        yield about | row_of(sentence, names)


def row_of(sentence: Sentence, names: dict[str, str]) -> Row:
    """A sentence, with each party by the fullest of its names."""
    scores = {name: rounded(sentence.type_scores[name]) for name in TYPES}
    quotations, speaker = sentence.quotations, sentence.speaker
    row: Row = {
        "sentence": sentence.index,
        "paragraph": sentence.paragraph,
        "start": sentence.start,
        "end": sentence.end,
        "text": sentence.text,
        "type": str(sentence.type),
        "type_score": scores.get(sentence.type, max(scores.values())),
        **{f"score_{name}": score for name, score in scores.items()},
        "quotation": str(quotations[0].kind) if quotations else None,
        "quoted": joined(quoted(sentence)),
    }
    if speaker is not None:
        row["speaker"] = speaker.text
        row["speaker_party"] = speaker.party
        row["speaker_inherited"] = speaker.inherited
    for name in SENTIMENTS:
        parties = (p for p in sentence.parties if p.sentiment == name)
        row[name] = joined(names.get(p.party, p.name) for p in parties)
    return row


def quoted(sentence: Sentence) -> Iterator[str]:
    """The words between quotation marks."""
    for quotation in sentence.quotations:
        if quotation.kind != "indirect":
            yield sentence.text[quotation.start - sentence.start : quotation.end - sentence.start]


def joined(words: Iterable[str]) -> str | None:
    return " | ".join(words) or None


def rounded(score: float) -> float:
    """Four decimals: more would only say noise."""
    return math.floor(score * 1e4 + 0.5) / 1e4


if __name__ == "__main__":
    sys.exit(main())
