"""How sure the figures of dev are.

    python training/certainty.py --data DATA --model models/news-en

Prints two things. For each figure on `newsroom/dev`, the interval that holds 95 % of it when the articles are drawn
anew with replacement (percentile bootstrap, Efron and Tibshirani 1993). And for NewsMTSC's dev sets, the calibration
error that a model would be measured at that is right exactly as often as it says: right and wrong are drawn from its
own confidences, so what is above that is what can be called miscalibrated. By the training code's logits, without
the two rules of `copydesk` on quote and reaction.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import corpora
import metrics
from calibration import samples_of
from evaluate import figures_of, tally
from export import load
from items import tokenize_articles
from predict import predict

# The figures that intervals are given of, by where `figures_of` has them.
FIGURES = {
    "type, macro-F1": lambda f: f["type_macro_f1"],
    "reaction, F1": lambda f: f["type"]["reaction"]["f1"],
    "parties, F1": lambda f: f["party"]["f1"],
    "speakers, F1": lambda f: f["speaker"]["f1"],
    "sentiment, macro-F1": lambda f: f["sentiment_macro_f1"],
}


def bootstrap(docs, answers, draws: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Each figure of `draws` samples of the articles, as many as there are."""
    found: dict[str, list[float]] = {name: [] for name in FIGURES}
    tallies = [tally(doc, rows) for doc, rows in zip(docs, answers)]
    for _ in range(draws):
        figures = figures_of([tallies[i] for i in rng.integers(len(tallies), size=len(tallies))])
        for name, pick in FIGURES.items():
            found[name].append(pick(figures))
    return {name: np.array(values) for name, values in found.items()}


def errors_if_calibrated(scores: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Calibration errors of labels drawn from `scores` [rows, classes]."""
    levels = scores.cumsum(axis=1)
    drawn = lambda: (rng.random((len(scores), 1)) > levels[:, :-1]).sum(axis=1)
    return np.array([metrics.expected_calibration_error(scores, drawn()) for _ in range(draws)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, required=True, help="the folder of corpora")
    add("--model", type=Path, required=True)
    add("--draws", type=int, default=2000)
    add("--seed", type=int, default=1)
    options = parser.parse_args()
    model, tokenizer, shape, config = load(options.model)
    rng = np.random.default_rng(options.seed)
    answered = lambda articles: (
        docs := tokenize_articles(tokenizer, articles), predict(model, tokenizer, docs, shape)
    )
    docs, answers = answered(corpora.newsroom(options.data / "newsroom/dev.jsonl"))
    for name, values in bootstrap(docs, answers, options.draws, rng).items():
        low, high = np.percentile(values, [2.5, 97.5])
        print(f"{name}: {low:.3f} to {high:.3f}")
    temperatures = config["copydesk"]["temperatures"]
    whole = temperatures["sentiment"]
    alone = temperatures.get("alone", temperatures)["sentiment"]
    for name in ("rw", "mt"):
        docs, answers = answered(corpora.newsmtsc(options.data / f"newsmtsc/dev_{name}.jsonl"))
        _, sample = samples_of(docs, answers)
        values = errors_if_calibrated(sample.scores(whole, alone), options.draws, rng)
        low, high = np.percentile(values, [5, 95])
        measured = sample.error(whole, alone)
        print(f"{name}: calibration error {measured:.3f}; of a calibrated model {values.mean():.3f}, {low:.3f} to {high:.3f}")


if __name__ == "__main__":
    main()
