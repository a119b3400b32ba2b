"""The figures of a model on the dev sets; `copydesk eval` gives the same from the binary."""

from __future__ import annotations

import math

import numpy as np

import corpora
import decode
import metrics
from items import in_pieces
from predict import pooled_sentiment, predict, word_span


def evaluate_newsroom(docs, answers) -> dict:
    types, types_hat = [], []
    party, party_hat, speaker, speaker_hat = set(), set(), set(), set()
    logits, labels = [], []
    for d, (doc, rows) in enumerate(zip(docs, answers)):
        for i, (sentence, tokens, row) in enumerate(zip(doc.article.sentences, doc.sentences, rows)):
            party |= {(d, i, m[0], m[1]) for m in sentence.mentions}
            if sentence.speaker:
                speaker.add((d, i, *sentence.speaker))
            if row is None:
                continue
            types.append(sentence.type)
            guess = int(row["type"].argmax())
            types_hat.append(guess)
            party_hat |= {(d, i, *word_span(tokens, *s)) for s in decode.spans(row["party"])}
            if guess in (0, 2):
                found = decode.best_span(row["speaker"])
                if found:
                    speaker_hat.add((d, i, *word_span(tokens, *found)))
            more, gold = pooled_sentiment(row)
            logits += more
            labels += gold
    s = np.array(logits)
    return {
        "type_macro_f1": metrics.macro_f1(types, types_hat, 5),
        "type": {
            n: r for n, r in zip(corpora.TYPES, metrics.class_scores(types, types_hat, 5))
        },
        "party": metrics.span_f1(party, party_hat),
        "speaker": metrics.span_f1(speaker, speaker_hat),
        "sentiment_macro_f1": metrics.macro_f1(labels, list(s.argmax(axis=1)), 3),
        "sentiment": {
            n: r
            for n, r in zip(
                corpora.SENTIMENTS, metrics.class_scores(labels, list(s.argmax(axis=1)), 3)
            )
        },
    }


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
