"""Tables hold what `copydesk classify --format csv` writes."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, TEXT, Server, binary

from copydesk import Answer, Article, Client, Failure
from copydesk.frames import PARTY_COLUMNS, SENTENCE_COLUMNS, party_frame, sentence_frame

Make = Callable[[Iterable[Answer | Failure]], pd.DataFrame]
ARTICLES = [
    {"id": "a", "headline": "Port Ellis", "text": TEXT},
    {"id": "b", "text": TEXT, "parties": [{"id": "o", "name": "Oster"}]},
    {"id": "c", "sentences": ["“It rained,” she said.", "🦊 “Norland” won, “twice”, he said."]},
    {"id": "d", "text": " "},
]


def articles() -> list[Article]:
    own = (ROOT / "examples" / "articles" / "articles.jsonl").read_text(encoding="utf-8")
    lines = [*ARTICLES, *(json.loads(line) for line in own.splitlines())]
    return [Article.from_dict(line) for line in lines]


def bundled(server: Server, rows: str, file: Path) -> str:
    own = (ROOT / "examples" / "articles" / "articles.jsonl").read_text(encoding="utf-8")
    file.write_text("".join(json.dumps(line) + "\n" for line in ARTICLES) + own, encoding="utf-8")
    command = [binary(), "classify", "--server", server.url, "--format", "csv", "--csv-rows", rows]
    ran = subprocess.run([*command, str(file)], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 1, "one article has failed"
    return ran.stdout


@pytest.mark.parametrize(
    ("rows", "make", "columns"),
    [
        ("sentences", sentence_frame, SENTENCE_COLUMNS),
        ("parties", party_frame, PARTY_COLUMNS),
    ],
)
def test_tables_are_those_of_the_bundled_client(
    client: Client, server: Server, tmp_path: Path, rows: str, make: Make, columns: dict[str, str]
) -> None:
    outcomes = list(client.classify_all(articles()))
    assert [o.article_id for o in outcomes if isinstance(o, Failure)] == ["d"]
    ours = make(outcomes)
    csv = bundled(server, rows, tmp_path / "articles.jsonl")
    theirs = pd.read_csv(io.StringIO(csv), dtype=columns)
    assert len(ours) > 50
    pd.testing.assert_frame_equal(ours, theirs)


@pytest.mark.parametrize(
    ("make", "columns"), [(sentence_frame, SENTENCE_COLUMNS), (party_frame, PARTY_COLUMNS)]
)
def test_tables_without_rows_keep_their_columns(make: Make, columns: dict[str, str]) -> None:
    frame = make([])
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == columns
