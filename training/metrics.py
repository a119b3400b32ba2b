"""Figures of a run on the dev sets; `copydesk eval` gives the same from the binary."""

from __future__ import annotations

import numpy as np


def class_scores(gold: list[int], predicted: list[int], classes: int) -> list[dict]:
    gold_, predicted_ = np.array(gold), np.array(predicted)
    rows = []
    for c in range(classes):
        hit = int(((gold_ == c) & (predicted_ == c)).sum())
        p, g = int((predicted_ == c).sum()), int((gold_ == c).sum())
        precision, recall = hit / p if p else 0.0, hit / g if g else 0.0
        f1 = 2 * hit / (p + g) if p + g else 0.0
        rows.append({"precision": precision, "recall": recall, "f1": f1, "support": g})
    return rows


def macro_f1(gold: list[int], predicted: list[int], classes: int) -> float:
    return float(np.mean([r["f1"] for r in class_scores(gold, predicted, classes)]))


def span_f1(hit: int, predicted: int, gold: int) -> dict:
    precision = hit / predicted if predicted else 0.0
    recall = hit / gold if gold else 0.0
    f1 = 2 * hit / (gold + predicted) if gold or predicted else 0.0
    return {"precision": precision, "recall": recall, "f1": f1, "support": gold}


def expected_calibration_error(scores: np.ndarray, gold: np.ndarray, bins: int = 15) -> float:
    """Guo et al. 2017: |accuracy − confidence| over equal-width bins, weighted by their size."""
    confidence, hit = scores.max(axis=1), scores.argmax(axis=1) == gold
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    error = 0.0
    for b in range(bins):
        inside = index == b
        if inside.any():
            error += inside.mean() * abs(hit[inside].mean() - confidence[inside].mean())
    return float(error)
