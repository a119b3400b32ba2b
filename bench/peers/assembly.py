"""Measures the job as one would put it together from parts, in one layout.

    python bench/peers/assembly.py --graphs DIR --articles FILE --parties FILE --form plain \\
        --processes 2 --threads 1 --seconds 10

In the loop, article by article: cut into sentences (sentencex); tokenise (tokenizers); one pass of the
encoder a sentence for its type; one pass for each party that a sentence names, over `sentence [SEP]
party`, for the sentiment; passes in batches of at most 32, like lengths together; the best label of
each. Finding the parties costs nothing here: their names are given. There are no speakers, no quoted
words, no context. Prints articles per second as JSON.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sentencex
from tokenizers import Encoding, Tokenizer

import batches
import clock
import export
import ort
import reference

BATCH = 32
# BERT's own limit on a sequence.
TOKENS = 512


@dataclass(frozen=True)
class Article:
    """A text, and the names of each of its parties."""

    text: str
    parties: list[list[str]]


@dataclass(frozen=True)
class Setting:
    """What one process needs to know."""

    graphs: Path
    articles: Path
    parties: Path
    form: str
    processes: int
    threads: int
    seconds: float


def read(articles: Path, parties: Path) -> list[Article]:
    """The articles with the parties that copydesk's answers name."""
    named = {}
    for line in parties.read_text(encoding="utf-8").splitlines():
        answer = json.loads(line)
        found = answer.get("parties", [])
        named[answer["id"]] = [[party["name"], *party["aliases"]] for party in found]
    rows = [json.loads(line) for line in articles.read_text(encoding="utf-8").splitlines()]
    return [Article(row["text"], named[row["id"]]) for row in rows]


def tokenizer() -> Tokenizer:
    """The model's tokenizer, cut to what BERT takes."""
    found = Tokenizer.from_file(str(reference.MODEL / "tokenizer.json"))
    found.enable_truncation(TOKENS)
    return found


def feed(encodings: list[Encoding]) -> batches.Feed:
    """Padded arrays; the token type is 1 in the second text of a pair, as BERT has it."""
    width = max(len(e.ids) for e in encodings)
    return {
        "ids": batches.padded([e.ids for e in encodings], width),
        "cases": batches.padded([e.type_ids for e in encodings], width),
        "mask": batches.padded([[1] * len(e.ids) for e in encodings], width),
    }


class Assembly:
    """A splitter, a tokenizer and two classifiers."""

    def __init__(self, graphs: Path, form: str, threads: int) -> None:
        self.tokenizer = tokenizer()
        self.kinds = ort.session(export.place(graphs, "sentence", form), threads)
        self.sentiment = ort.session(export.place(graphs, "pair", form), threads)

    def answer(self, article: Article) -> tuple[np.ndarray, np.ndarray]:
        """The type of each sentence, and the sentiment of each (sentence, party) pair."""
        cut = (sentence.strip() for sentence in sentencex.segment("en", article.text))
        sentences = [sentence for sentence in cut if sentence]
        pairs = [
            (sentence, names[0])
            for sentence in sentences
            for names in article.parties
            if any(name in sentence for name in names)
        ]
        return self.best(self.kinds, sentences), self.best(self.sentiment, pairs)

    def best(self, session, texts: list) -> np.ndarray:
        """The best label of each text or pair."""
        encodings = self.tokenizer.encode_batch(texts)
        order = sorted(range(len(texts)), key=lambda i: len(encodings[i].ids))
        labels = np.zeros(len(texts), np.int64)
        for low in range(0, len(order), BATCH):
            rows = order[low : low + BATCH]
            logits = session.run(None, feed([encodings[i] for i in rows]))[0]
            labels[rows] = logits.argmax(-1)
        return labels


def work(setting: Setting, number: int, ready: Callable[[], object]) -> float:
    """One process's articles per second."""
    articles = read(setting.articles, setting.parties)
    assembly = Assembly(setting.graphs, setting.form, setting.threads)
    turned = clock.turned(articles, number * len(articles) // setting.processes)
    # By length, since a run that stops half-way may have met long articles or short ones.
    mean = sum(len(a.text) for a in articles) / len(articles)
    ready()
    return clock.rate([assembly.answer], turned, lambda a: len(a.text) / mean, setting.seconds)


def child(setting: Setting, number: int, barrier, rates) -> None:
    """A process of its own, since Python's own work would otherwise take turns."""
    rates.put(work(setting, number, barrier.wait))


def measure(setting: Setting) -> float:
    """Articles per second of all processes."""
    spawn = multiprocessing.get_context("spawn")
    # Whoever fails before the start must not keep the others waiting for ever.
    barrier, rates = spawn.Barrier(setting.processes, timeout=300), spawn.Queue()
    children = [
        spawn.Process(target=child, args=(setting, k, barrier, rates))
        for k in range(setting.processes)
    ]
    for process in children:
        process.start()
    for process in children:
        process.join()
    if any(process.exitcode for process in children):
        raise SystemExit("a process of the assembly failed")
    return sum(rates.get() for _ in children)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--graphs", type=Path, required=True, help="folder that export.py wrote")
    add("--articles", type=Path, required=True)
    add("--parties", type=Path, required=True, help="what `copydesk classify` answered to them")
    add("--form", choices=["plain", "fused"], required=True)
    add("--processes", type=int, required=True)
    add("--threads", type=int, required=True)
    add("--seconds", type=float, required=True)
    print(json.dumps({"rate": measure(Setting(**vars(parser.parse_args())))}))


if __name__ == "__main__":
    main()
