"""A model's logits on articles, its windows cut as the service cuts them."""

from __future__ import annotations

import numpy as np
import torch

import decode
from items import Tokenized, token_range
from network import Copydesk, segment_mean, sentiment_logits
from windows import Shape, Tokens, bucket, make_windows


@torch.no_grad()
def predict(
    model: Copydesk,
    tokenizer,
    docs: list[Tokenized],
    shape: Shape,
    find: bool = False,
    bf16: bool = False,
) -> list[list[dict | None]]:
    """Logits of every sentence, its windows cut as the service cuts them. Sentiment is that of the
    labelled mentions, or with `find` of those that the party tags give."""
    model.eval()
    jobs = [
        (d, w)
        for d, doc in enumerate(docs)
        for w in make_windows(
            tokenizer, doc.headline, doc.sentences, shape
        )
    ]
    parts: list[list[list[torch.Tensor]]] = [[[] for _ in d.sentences] for d in docs]
    order = sorted(range(len(jobs)), key=lambda j: len(jobs[j][1].ids))
    done: dict[int, torch.Tensor] = {}
    for low in range(0, len(order), 4):
        chunk = order[low : low + 4]
        width = max(len(jobs[j][1].ids) for j in chunk)
        pad = lambda rows: torch.tensor([r + [0] * (width - len(r)) for r in rows])
        ids, cases = pad([jobs[j][1].ids for j in chunk]), pad([jobs[j][1].cases for j in chunk])
        mask = pad([[1] * len(jobs[j][1].ids) for j in chunk])
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            states = model.states(ids, cases, mask).float()
        for row, j in zip(states, chunk):
            done[j] = row
    for j, (d, window) in enumerate(jobs):
        for index, first, end, answered in window.sentences:
            if answered:
                parts[d][index].append(done[j][first:end])
    return [heads(model, doc, pieces, find) for doc, pieces in zip(docs, parts)]


def heads(model: Copydesk, doc: Tokenized, parts: list[list[torch.Tensor]], find: bool) -> list[dict | None]:
    """What the heads say of an article, all of its sentences at once; `parts` are the states of each one's
    pieces. None for a sentence without a token."""
    count = len(doc.sentences)
    present = [i for i, tokens in enumerate(doc.sentences) if tokens.ids]
    if not present:
        return [None] * count
    states = torch.cat([piece for i in present for piece in parts[i]])
    ends = np.cumsum([len(doc.sentences[i].ids) for i in present])
    starts = ends - [len(doc.sentences[i].ids) for i in present]
    means = segment_mean(states, list(zip(starts.tolist(), ends.tolist())))
    places = torch.tensor([[bucket(i), bucket(count - 1 - i)] for i in present])
    types = model.sentence_type(means, places).numpy()
    words = torch.tensor([w for i in present for w in doc.sentences[i].word_start])
    cuts = np.cumsum([sum(doc.sentences[i].word_start) for i in present])[:-1]
    tags = {
        name: np.split(head(states[words]).numpy(), cuts)
        for name, head in (("party", model.party), ("speaker", model.speaker))
    }
    # Pieces of all sentences, and the sentence of each; a mention looks at the piece that it begins in.
    ranges, owners, found, answers = [], [], [], [None] * count
    for n, i in enumerate(present):
        tokens, named = doc.sentences[i], doc.article.sentences[i].mentions
        if find:
            spans = decode.spans(tags["party"][n])
            named = [(*word_span(tokens, *s), 1, g) for g, s in enumerate(spans)]
        mentions = [token_range(tokens, m[0], m[1]) for m in named]
        last = np.cumsum([len(piece) for piece in parts[i]])
        for low, high in [m for m in mentions if m]:
            piece = len(ranges) + int((last <= low).sum())
            found.append((piece, int(starts[n]) + low, int(starts[n]) + high))
        ranges += [(int(starts[n] + e - len(p)), int(starts[n] + e)) for e, p in zip(last, parts[i])]
        owners += [n] * len(parts[i])
        answers[i] = {
            "type": types[n],
            "party": tags["party"][n],
            "speaker": tags["speaker"][n],
            "mentions": [m for m, r in zip(named, mentions) if r],
        }
    logits = np.zeros((0, 3), np.float32)
    if found:
        logits = sentiment_logits(model, states, found, ranges, means[owners]).numpy()
    done = 0
    for i in present:
        size = len(answers[i]["mentions"])
        answers[i]["sentiment"] = logits[done : done + size]
        done += size
    return answers


def word_span(tokens: Tokens, low: int, high: int) -> tuple[int, int]:
    """A range of words → code points."""
    firsts = [i for i, s in enumerate(tokens.word_start) if s] + [len(tokens.ids)]
    return tokens.spans[firsts[low]][0], tokens.spans[firsts[high] - 1][1]


def pooled_sentiment(answer: dict) -> tuple[list[np.ndarray], list[int]]:
    """Logits averaged over the mentions of a party in the sentence, one row a mention."""
    groups = [m[3] for m in answer["mentions"]]
    rows = [answer["sentiment"][[g == h for h in groups]].mean(axis=0) for g in groups]
    return rows, [m[2] for m in answer["mentions"]]
