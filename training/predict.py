"""A model's logits on articles, its windows cut as the service cuts them."""

from __future__ import annotations

import numpy as np
import torch

import decode
from items import Tokenized, token_range
from network import Copydesk, sentiment_logits
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
    for low in range(0, len(order), 16):
        chunk = order[low : low + 16]
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
    out = []
    for doc, sentences in zip(docs, parts):
        answers, count = [], len(sentences)
        for index, pieces in enumerate(sentences):
            gold, tokens = doc.article.sentences[index], doc.sentences[index]
            if not tokens.ids:
                answers.append(None)
                continue
            states = torch.cat(pieces)
            mean = states.mean(dim=0, keepdim=True)
            place = torch.tensor([[bucket(index), bucket(count - 1 - index)]])
            words = torch.tensor(tokens.word_start)
            party = model.party(states[words]).numpy()
            named = gold.mentions
            if find:
                named = [(*word_span(tokens, *s), 1, g) for g, s in enumerate(decode.spans(party))]
            mentions = [token_range(tokens, m[0], m[1]) for m in named]
            # A mention looks at the piece of the sentence that it begins in.
            ends = np.cumsum([len(p) for p in pieces])
            ranges = list(zip(ends - [len(p) for p in pieces], ends))
            found = [(int((ends <= m[0]).sum()), *m) for m in mentions if m]
            logits = (
                sentiment_logits(model, states, found, ranges, mean.expand(len(pieces), -1)).numpy()
                if found
                else np.zeros((0, 3), np.float32)
            )
            answers.append(
                {
                    "type": model.sentence_type(mean, place)[0].numpy(),
                    "party": party,
                    "speaker": model.speaker(states[words]).numpy(),
                    "sentiment": logits,
                    "mentions": [m for m, r in zip(named, mentions) if r],
                }
            )
        out.append(answers)
    return out


def word_span(tokens: Tokens, low: int, high: int) -> tuple[int, int]:
    """A range of words → code points."""
    firsts = [i for i, s in enumerate(tokens.word_start) if s] + [len(tokens.ids)]
    return tokens.spans[firsts[low]][0], tokens.spans[firsts[high] - 1][1]


def pooled_sentiment(answer: dict) -> tuple[list[np.ndarray], list[int]]:
    """Logits averaged over the mentions of a party in the sentence, one row a mention."""
    groups = [m[3] for m in answer["mentions"]]
    rows = [answer["sentiment"][[g == h for h in groups]].mean(axis=0) for g in groups]
    return rows, [m[2] for m in answer["mentions"]]
