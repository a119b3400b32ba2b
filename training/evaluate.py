"""The figures of a model on the dev sets; `copydesk eval` gives the same from the binary."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

import corpora
import decode
import metrics
from items import Tokenized, in_pieces
from predict import pooled_sentiment, predict, word_span


@dataclass
class Tally:
    """What an article adds to the figures: labels and answers, and counts of spans (right, answered, labelled)."""

    types: list[int] = field(default_factory=list)
    types_hat: list[int] = field(default_factory=list)
    sentiments: list[int] = field(default_factory=list)
    sentiments_hat: list[int] = field(default_factory=list)
    party: np.ndarray = field(default_factory=lambda: np.zeros(3, int))
    speaker: np.ndarray = field(default_factory=lambda: np.zeros(3, int))


def spans_counted(found: set, labelled: set) -> np.ndarray:
    return np.array([len(found & labelled), len(found), len(labelled)])


def tally(doc: Tokenized, rows: list[dict | None]) -> Tally:
    out = Tally()
    for sentence, tokens, row in zip(doc.article.sentences, doc.sentences, rows):
        parties, speakers = set(), set()
        if row is not None:
            guess = int(row["type"].argmax())
            out.types.append(sentence.type)
            out.types_hat.append(guess)
            parties = {word_span(tokens, *s) for s in decode.spans(row["party"])}
            found = decode.best_span(row["speaker"]) if guess in (0, 2) else None
            speakers = {word_span(tokens, *found)} if found else set()
            logits, gold = pooled_sentiment(row)
            out.sentiments += gold
            out.sentiments_hat += [int(each.argmax()) for each in logits]
        out.party += spans_counted(parties, {m[:2] for m in sentence.mentions})
        out.speaker += spans_counted(speakers, {sentence.speaker} if sentence.speaker else set())
    return out


def figures_of(tallies: list[Tally]) -> dict:
    every = lambda pick: [x for t in tallies for x in pick(t)]
    types = every(lambda t: t.types), every(lambda t: t.types_hat), len(corpora.TYPES)
    sentiments = every(lambda t: t.sentiments), every(lambda t: t.sentiments_hat), len(corpora.SENTIMENTS)
    return {
        "type_macro_f1": metrics.macro_f1(*types),
        "type": dict(zip(corpora.TYPES, metrics.class_scores(*types))),
        "party": metrics.span_f1(*(int(n) for n in sum(t.party for t in tallies))),
        "speaker": metrics.span_f1(*(int(n) for n in sum(t.speaker for t in tallies))),
        "sentiment_macro_f1": metrics.macro_f1(*sentiments),
        "sentiment": dict(zip(corpora.SENTIMENTS, metrics.class_scores(*sentiments))),
    }


def evaluate_newsroom(docs, answers) -> dict:
    return figures_of([tally(doc, rows) for doc, rows in zip(docs, answers)])


def evaluate_sentiment(answers) -> float:
    logits, labels = [], []
    for rows in answers:
        for row in rows:
            more, gold = pooled_sentiment(row)
            logits += more
            labels += gold
    return metrics.macro_f1(labels, list(np.array(logits).argmax(axis=1)), 3)


def summary(figures: dict) -> str:
    types = " ".join(f"{n[:4]} {r['f1']:.3f}" for n, r in figures["type"].items())
    feel = " ".join(f"{n[:3]} {r['f1']:.3f}" for n, r in figures["sentiment"].items())
    return (
        f"type {figures['type_macro_f1']:.4f} ({types}) party {figures['party']['f1']:.4f} "
        f"(p {figures['party']['precision']:.3f} r {figures['party']['recall']:.3f}) "
        f"speaker {figures['speaker']['f1']:.4f} sentiment {figures['sentiment_macro_f1']:.4f} "
        f"({feel}) rw {figures.get('newsmtsc_rw', math.nan):.4f} mt {figures.get('newsmtsc_mt', math.nan):.4f} "
        + "".join(
            f"in pieces of {size}: type {of['type']:.4f} sentiment {of['sentiment']:.4f} "
            for size in (1, 3) if (of := figures.get(f"pieces_of_{size}"))
        )
    )


def dev_figures(model, tokenizer, dev, shape) -> dict:
    figures = evaluate_newsroom(dev["newsroom"], predict(model, tokenizer, dev["newsroom"], shape))
    for name in dev.keys() - {"newsroom"}:
        answers = predict(model, tokenizer, dev[name], shape)
        figures[f"newsmtsc_{name}"] = evaluate_sentiment(answers)
    for size in (1, 3):
        docs = in_pieces(dev["newsroom"], size)
        of = evaluate_newsroom(docs, predict(model, tokenizer, docs, shape))
        figures[f"pieces_of_{size}"] = {
            "type": of["type_macro_f1"], "party": of["party"]["f1"], "speaker": of["speaker"]["f1"],
            "sentiment": of["sentiment_macro_f1"],
        }
    return figures
