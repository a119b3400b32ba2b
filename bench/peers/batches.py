"""Windows as `copydesk bench windows` prints them, to arrays that the peers take."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Feed = dict[str, np.ndarray]


@dataclass(frozen=True)
class Sentence:
    """A sentence that a window answers."""

    pieces: list[tuple[int, int, int]]  # sequence, first token, end token
    words: list[int]  # the first token of each word, counted in the sentence
    places: list[int]


@dataclass(frozen=True)
class Window:
    """What one pass answers; several sequences only for a sentence longer than a window."""

    ids: list[list[int]]
    cases: list[list[int]]
    sentences: list[Sentence]

    @property
    def width(self) -> int:
        """Tokens of the longest sequence."""
        return max(map(len, self.ids))


@dataclass(frozen=True)
class Batch:
    """Padded arrays, and how many tokens of them are real."""

    feed: Feed
    tokens: int


def read(path: Path) -> list[Window]:
    """The windows of a file of JSON Lines."""
    with path.open(encoding="utf-8") as lines:
        return [window(json.loads(line)) for line in lines]


def window(row: dict) -> Window:
    """One line of the file."""
    return Window(
        [s["ids"] for s in row["sequences"]],
        [s["cases"] for s in row["sequences"]],
        [
            Sentence([tuple(p) for p in s["pieces"]], s["words"], s["places"])
            for s in row["sentences"]
        ],
    )


def make(windows: list[Window], size: int) -> list[Batch]:
    """Batches of `size` windows of like length. They come in random order, so that a run that stops
    before it has seen all of them has seen a fair sample; the order is the same everywhere."""
    like = sorted(windows, key=lambda w: w.width)
    batches = [batch(like[low : low + size]) for low in range(0, len(like), size)]
    random.Random(1).shuffle(batches)
    return batches


def padded(rows: list[list[int]], width: int) -> np.ndarray:
    """[rows, width], filled up with zeros."""
    return np.array([row + [0] * (width - len(row)) for row in rows], dtype=np.int64)


def batch(windows: list[Window]) -> Batch:
    """The arrays of `graphs.EncoderHeads`."""
    ids = [row for w in windows for row in w.ids]
    width = max(map(len, ids))
    starts = np.cumsum([0] + [len(w.ids) for w in windows])  # each window's first sequence
    sentences = [(int(start), s) for start, w in zip(starts, windows) for s in w.sentences]
    pieces = [[] for _ in ids]  # of each sequence: sentence, first token, end token
    words = []
    for number, (start, sentence) in enumerate(sentences):
        rows = []
        for sequence, low, high in sentence.pieces:
            pieces[start + sequence].append((number, low, high))
            first = (start + sequence) * width
            rows.extend(range(first + low, first + high))
        words.extend(rows[w] for w in sentence.words)
    most = max(map(len, pieces))
    lengths = [max(1, sum(b - a for _, a, b in s.pieces)) for _, s in sentences]
    pool = np.zeros((len(ids), most, width), np.float32)
    owner = np.zeros((len(sentences), len(ids) * most), np.float32)
    for row, found in enumerate(pieces):
        for slot, (number, low, high) in enumerate(found):
            pool[row, slot, low:high] = 1 / lengths[number]
            owner[number, row * most + slot] = 1
    feed = {
        "ids": padded(ids, width),
        "cases": padded([row for w in windows for row in w.cases], width),
        "mask": padded([[1] * len(row) for row in ids], width),
        "pool": pool,
        "owner": owner,
        "places": np.array([s.places for _, s in sentences], np.int64),
        "words": np.array(words, np.int64),
    }
    return Batch(feed, sum(map(len, ids)))
