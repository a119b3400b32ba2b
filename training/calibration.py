"""Temperatures by the length of a text, and a model calibrated anew.

    python training/calibration.py --data DATA --model models/news-en

A model is surer than it should be of a text without context: of whole articles its logits want a divisor
of T, of one sentence alone T₁, and of n sentences about T + (T₁ − T) / n. Both are fitted together, by
the least negative log-likelihood of the labels of dev (Guo et al. 2017): on its articles whole and in
pieces, and for sentiment on NewsMTSC's sentences, which stand alone. Writes them into config.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

import corpora
import decode
import metrics
from export import load
from items import in_pieces, tokenize_articles
from predict import pooled_sentiment, predict

# Sentences of the pieces that dev articles are cut into.
PIECES = (1, 2, 3, 5, 10)
GRID = np.exp(np.linspace(np.log(0.7), np.log(5.0), 80))


class Sample:
    """Logits of texts of about the same length, [rows, classes], their labels, and sentences of the
    text that each row is from."""

    def __init__(self, logits: list, labels: list[int], sentences: list[int]) -> None:
        self.logits, self.labels = np.array(logits), np.array(labels)
        self.sentences = np.array(sentences, dtype=float)

    def scores(self, whole: float, alone: float) -> np.ndarray:
        divisors = whole + (alone - whole) / self.sentences
        return np.exp(decode.log_softmax(self.logits / divisors[:, None]))

    def loss(self, whole: float, alone: float) -> float:
        right = self.scores(whole, alone)[np.arange(len(self.labels)), self.labels]
        return float(-np.log(np.maximum(right, 1e-12)).mean())

    def error(self, whole: float, alone: float) -> float:
        return metrics.expected_calibration_error(self.scores(whole, alone), self.labels)


def fit(samples: dict[str, tuple[float, Sample]]) -> tuple[float, float]:
    """T and T₁ with the least loss, each sample weighed."""
    loss = lambda t: sum(weight * sample.loss(*t) for weight, sample in samples.values())
    return min(((a, b) for a in GRID for b in GRID if b >= a), key=loss)


def samples_of(docs, answers) -> tuple[Sample, Sample]:
    """Of types and of sentiment."""
    types, sentiments = ([], [], []), ([], [], [])
    for doc, rows in zip(docs, answers):
        count = len(doc.sentences)
        for sentence, row in zip(doc.article.sentences, rows):
            if row is None:
                continue
            logits, labels = pooled_sentiment(row)
            sentiments[0].extend(logits)
            sentiments[1].extend(labels)
            sentiments[2].extend([count] * len(labels))
            if sentence.type is not None:
                types[0].append(row["type"])
                types[1].append(sentence.type)
                types[2].append(count)
    return Sample(*types), Sample(*sentiments)


def temperatures(model, tokenizer, dev: dict, shape) -> dict:
    """The `temperatures` of a config, and how far off scores are with them."""
    sets = {name: dev[name] for name in dev}
    sets |= {f"pieces of {n}": in_pieces(dev["newsroom"], n) for n in PIECES}
    kinds, feelings = {}, {}
    alone = dev.keys() - {"newsroom"}
    for name, docs in sets.items():
        kind, feeling = samples_of(docs, predict(model, tokenizer, docs, shape))
        share = 1.0 / len(PIECES) if name.startswith("pieces") else 1.0
        if name not in alone:
            kinds[name] = (share, kind)
        feelings[name] = (1.0 / len(alone) if name in alone else share, feeling)
    found = {"type": fit(kinds), "sentiment": fit(feelings)}
    for head, samples in (("type", kinds), ("sentiment", feelings)):
        whole, single = found[head]
        off = ", ".join(f"{n} {s.error(whole, single):.3f}" for n, (_, s) in samples.items())
        print(f"{head}: {whole:.3f}, alone {single:.3f}; calibration error {off}", flush=True)
    return {
        **{head: round(float(t), 4) for head, (t, _) in found.items()},
        "alone": {head: round(float(t), 4) for head, (_, t) in found.items()},
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, required=True, help="the folder of corpora")
    add("--model", type=Path, required=True, help="the directory whose config.json is written")
    return parser.parse_args()


def main() -> None:
    options = parse()
    model, tokenizer, shape, config = load(options.model)
    dev = {
        "newsroom": corpora.newsroom(options.data / "newsroom/dev.jsonl"),
        "rw": corpora.newsmtsc(options.data / "newsmtsc/dev_rw.jsonl"),
        "mt": corpora.newsmtsc(options.data / "newsmtsc/dev_mt.jsonl"),
    }
    dev = {name: tokenize_articles(tokenizer, articles) for name, articles in dev.items()}
    config["copydesk"]["temperatures"] = temperatures(model, tokenizer, dev, shape)
    (options.model / "config.json").write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    main()
