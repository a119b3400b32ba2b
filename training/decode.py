"""Tag logits to spans, as `src/model/decode.rs` does it. Rows are words: the logits of a word's
first token, in the order O, B, I."""

from __future__ import annotations

import numpy as np


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def spans(logits: np.ndarray) -> list[tuple[int, int]]:
    """Best path in which I follows only B or I (Viterbi, 1967): half-open word ranges."""
    if not len(logits):
        return []
    scores = log_softmax(logits)
    best = scores[0] + np.array([0.0, 0.0, -np.inf])
    back = []
    for row in scores[1:]:
        step = np.repeat(best[:, None], 3, axis=1)
        step[0, 2] = -np.inf
        back.append(step.argmax(axis=0))
        best = step.max(axis=0) + row
    tag = int(best.argmax())
    tags = [tag]
    for pointers in reversed(back):
        tag = int(pointers[tag])
        tags.append(tag)
    tags.reverse()
    found: list[list[int]] = []
    for i, tag in enumerate(tags):
        if tag == 1:
            found.append([i, i + 1])
        elif tag == 2:
            found[-1][1] = i + 1
    return [(a, b) for a, b in found]


def best_span(logits: np.ndarray, threshold: float = 0.0) -> tuple[int, int] | None:
    """The likeliest labelling with one span against the one with none; `None` if the log odds
    stay under `threshold`."""
    if not len(logits):
        return None
    gain_b, gain_i = logits[:, 1] - logits[:, 0], logits[:, 2] - logits[:, 0]
    best, found = threshold, None
    start, total = 0, -np.inf
    for i in range(len(logits)):
        # Either the span so far goes on, or a new one opens here.
        total += gain_i[i]
        if gain_b[i] >= total:
            start, total = i, gain_b[i]
        if total > best:
            best, found = total, (start, i + 1)
    return found
