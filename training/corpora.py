"""Reads the corpora into one shape. Offsets are code points of the sentence."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

TYPES = ("quote", "background", "reaction", "boilerplate", "report")
SENTIMENTS = ("negative", "neutral", "positive")
# Corpora whose sentences stand alone.
ALONE = ("newsmtsc", "newstsc", "dse")
_POLARITY = {2.0: 0, 4.0: 1, 6.0: 2}


@dataclass
class Soft:
    """What a teacher says of a sentence: probabilities, tags by word."""

    type: list[float]
    party: list[list[float]]
    speaker: list[list[float]]
    sentiment: list[list[float]]  # one a mention, in their order


@dataclass
class Sentence:
    """`None` for what the corpus does not label."""

    text: str
    type: int | None = None
    speaker: tuple[int, int] | None = None
    # (start, end, sentiment, group): mentions of one party share a group.
    mentions: list[tuple[int, int, int, int]] = field(default_factory=list)
    tagged: bool = False
    # The type that another annotator gave it, where that is another.
    doubt: int | None = None
    # In place of labels, or beside them.
    soft: Soft | None = None
    labelled: bool = True


@dataclass
class Article:
    id: str
    headline: str | None
    sentences: list[Sentence]


def _lines(path: Path):
    unpack = gzip.open if path.suffix == ".gz" else open
    with unpack(path, "rt", encoding="utf-8") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)


def newsroom(path: Path) -> list[Article]:
    articles = []
    for row in _lines(path):
        sentences = []
        for s in row["sentences"]:
            groups: dict[str, int] = {}
            mentions = [
                (
                    m["start"],
                    m["end"],
                    SENTIMENTS.index(m["sentiment"]),
                    groups.setdefault(m["name"].casefold(), len(groups)),
                )
                for m in s["mentions"]
            ]
            speaker = s["speaker"] and (s["speaker"]["start"], s["speaker"]["end"])
            sentences.append(
                Sentence(s["text"], TYPES.index(s["type"]), speaker, mentions, tagged=True)
            )
        articles.append(Article(row["id"], row["headline"], sentences))
    return articles


def annotated(labels: Path, texts: Iterable[dict]) -> list[Article]:
    """Labels kept apart from the texts that they are of (`training/labels/README.md`)."""
    wanted = {row["id"]: row["sentences"] for row in _lines(labels)}
    articles = []
    for row in texts:
        if row["id"] not in wanted:
            continue
        sentences = []
        for start, end, kind, speaker, found in wanted.pop(row["id"]):
            text = row["text"][start:end]
            groups: dict[str, int] = {}
            mentions = [
                (a, b, SENTIMENTS.index(sentiment), groups.setdefault(text[a:b].casefold(), len(groups)))
                for a, b, sentiment in found
            ]
            first, *other = (TYPES.index(k) for k in ([kind] if isinstance(kind, str) else kind))
            doubt = other[0] if other else None
            speaker = speaker and tuple(speaker)
            sentences.append(Sentence(text, first, speaker, mentions, tagged=True, doubt=doubt))
        articles.append(Article(row["id"], row["headline"], sentences))
    if wanted:
        raise SystemExit(f"{labels}: {len(wanted)} articles are not in its corpus, {min(wanted)} for one")
    return articles


def without(articles: list[Article], others: list[Article]) -> list[Article]:
    """Those in which no sentence of `others` stands, but for ones of under 40 letters and digits: sentences
    of NewsMTSC come from articles of the same archives."""
    bare = lambda text: re.sub(r"\W+", "", text).lower()
    unwanted = {bare(s.text) for a in others for s in a.sentences}
    unwanted = [text for text in unwanted if len(text) >= 40]

    def clean(article: Article) -> bool:
        text = bare(" ".join(s.text for s in article.sentences))
        return not any(u in text for u in unwanted)

    return [a for a in articles if clean(a)]


def worldwide(path: Path) -> list[dict]:
    """Worldwide newswire as articles, `{"id", "headline", "text"}`: a paragraph a line, its words joined again."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        documents = file.read().split("-DOCSTART-\t")[1:]
    found = []
    for document in documents:
        name, _address, *paragraphs = document.split("\n\n")
        words = [[row.split("\t")[0] for row in p.split("\n") if row] for p in paragraphs]
        text = "\n".join(joined(w) for w in words if w)
        found.append({"id": name.strip().removesuffix(".txt.tsv"), "headline": None, "text": text})
    return found


# What follows an apostrophe within a word.
_CLITICS = ("s", "t", "re", "ve", "ll", "d", "m")


def joined(words: list[str]) -> str:
    """A line of the words that a tokenizer cut it into. What it made of " - " and of "-" cannot be told apart: between
    words both are taken for hyphens. Offsets in `labels/worldwide.jsonl.gz` are of what this returns."""
    text, quoted, tight = "", False, True
    for i, word in enumerate(words):
        before, after = words[i - 1] if i else "", words[i + 1] if i + 1 < len(words) else ""
        opens, closes = word in "([{“‘$£€#@", word in ",.;:!?)]}”’'%…" or word[1:] in _CLITICS and word[0] in "'’"
        closes |= word in ("n't", "n’t")
        if word == '"':
            opens, closes, quoted = not quoted, quoted, not quoted
        inside = word in "-/" and before[-1:].isalnum() and after[:1].isalnum()
        if not (tight or closes or inside):
            text += " "
        text += word
        tight = opens or inside or (word in "'’" and after.lower() in _CLITICS)
        # Initials, and the thousands of a figure.
        tight |= word == "." and len(before) == len(after) == 1 and (before + after).isupper()
        tight |= word in ",." and before.isdigit() and after.isdigit() and len(after) == 3
    return text


def newsmtsc(path: Path) -> list[Article]:
    """One sentence an article; only the main mention of each target is kept."""
    articles = []
    for row in _lines(path):
        mentions = [
            (t["from"], t["to"], _POLARITY[t["polarity"]], g)
            for g, t in enumerate(row["targets"])
        ]
        sentence = Sentence(row["sentence_normalized"], mentions=mentions)
        articles.append(Article(row["primary_gid"], None, [sentence]))
    return articles


def _by_sentence(rows, text, start, end, label) -> list[Article]:
    found: dict[str, Sentence] = {}
    for row in rows:
        sentence = found.setdefault(row[text], Sentence(row[text]))
        mention = (row[start], row[end], SENTIMENTS.index(row[label]))
        if mention[1] > mention[0] and all(m[:2] != mention[:2] for m in sentence.mentions):
            sentence.mentions.append((*mention, len(sentence.mentions)))
    return [Article(str(i), None, [s]) for i, s in enumerate(found.values())]


def newstsc(directory: Path) -> list[Article]:
    rows = [r for name in ("train", "test") for r in _lines(directory / f"{name}.jsonl")]
    return _by_sentence(rows, "local_context", "target_local_from", "target_local_to", "label")


def dse(path: Path) -> list[Article]:
    return _by_sentence(_lines(path), "sentence", "start", "end", "label")


def articles(path: Path, limit: int | None = None) -> list[Article]:
    """Articles without labels, cut into sentences: `{"id", "headline", "sentences": ["…"]}` a line."""
    found = []
    for row in _lines(path):
        if limit is not None and len(found) == limit:
            break
        sentences = [Sentence(text) for text in row["sentences"]]
        found.append(Article(row["id"], row.get("headline"), sentences))
    return found


def labelled(path: Path) -> list[Article]:
    """What `label.py` writes."""
    found = []
    for row in _lines(path):
        sentences = []
        for s in row["sentences"]:
            mentions = [(start, end, 1, g) for g, (start, end, _) in enumerate(s["mentions"])]
            soft = Soft(s["type"], s["party"], s["speaker"], [m[2] for m in s["mentions"]])
            sentence = Sentence(s["text"], mentions=mentions, soft=soft, labelled=False)
            sentences.append(sentence)
        found.append(Article(row["id"], row["headline"], sentences))
    return found


def training_sets(data: Path, extra: list[str], labels: list[Path]) -> dict[str, list[Article]]:
    """What the default model is trained on, by the names of the corpora. The file of `labels` has the name of
    its own, `allsides-2.jsonl.gz` as `allsides.jsonl.gz`; what holds a sentence of NewsMTSC's dev sets is left out."""
    sets = {
        "newsroom": newsroom(data / "newsroom/train.jsonl"),
        "newsmtsc": newsmtsc(data / "newsmtsc/train.jsonl"),
    }
    if "newstsc" in extra:
        sets["newstsc"] = newstsc(data / "newstsc")
    if "dse" in extra:
        sets["dse"] = dse(data / "dse/train.targets.jsonl")
    texts = {
        "allsides": lambda: _lines(data / "articles/allsides.jsonl.gz"),
        "worldwide": lambda: worldwide(data / "worldwide/all.conll.gz"),
    }
    for path in labels:
        corpus = path.name.split(".")[0].split("-")[0]
        if corpus not in texts:
            raise SystemExit(f"{path}: labels of allsides or worldwide by their name, not of {corpus}")
        sets.setdefault(corpus, []).extend(unseen(annotated(path, texts[corpus]()), data))
    return sets


def unseen(articles: list[Article], data: Path) -> list[Article]:
    """Those that hold no sentence of NewsMTSC's dev sets."""
    dev = [a for name in ("rw", "mt") for a in newsmtsc(data / f"newsmtsc/dev_{name}.jsonl")]
    return without(articles, dev)


def taught(sets: dict[str, list[Article]], path: Path) -> None:
    """Puts beside labels what a teacher says of the same sentences (`label.py --data`), where it says anything."""
    answers: dict[tuple[str, str], list] = {}
    for row in _lines(path):
        if answers.setdefault((row["corpus"], row["id"]), row["sentences"]) is not row["sentences"]:
            raise SystemExit(f"{path}: article {row['id']} of {row['corpus']} twice")
    for corpus, articles in sets.items():
        for article in articles:
            rows = answers.pop((corpus, article.id), [None] * len(article.sentences))
            for sentence, row in zip(article.sentences, rows, strict=True):
                if row is not None:
                    if len(row["sentiment"]) not in (0, len(sentence.mentions)):
                        raise SystemExit(f"{path}: other mentions in article {article.id} of {corpus}")
                    sentence.soft = Soft(row["type"], [], [], row["sentiment"])
    if answers:
        raise SystemExit(f"{path}: {len(answers)} articles that are not trained on, {min(answers)} for one")
