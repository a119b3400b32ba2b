"""Labelled articles → windows of tokens with their labels, in batches."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace

import numpy as np

import corpora
from windows import Shape, Tokens, bucket, make_windows, tokenize

# A target without a label.
NONE = math.nan

# Sentences of a piece of an article, each as likely.
PIECES = (1, 1, 1, 2, 3, 5, 8)


@dataclass
class Tokenized:
    """An article with its tokens."""

    article: corpora.Article
    headline: Tokens | None
    sentences: list[Tokens]


@dataclass
class Item:
    """A window with its labels, each a distribution; every list is about this window alone."""

    ids: list[int]
    cases: list[int]
    sentences: list[tuple[int, int]]
    types: list[list[float]]
    places: list[tuple[int, int]]
    party: np.ndarray  # [tokens, 3]
    speaker: np.ndarray
    mentions: list[tuple[int, int, int]]  # sentence, first, end
    sentiments: list[list[float]]
    corpus: str


def tokenize_articles(tokenizer, articles: list[corpora.Article]) -> list[Tokenized]:
    texts = [s.text for a in articles for s in a.sentences]
    tokens = iter(tokenize(tokenizer, texts))
    headlines = iter(tokenize(tokenizer, [a.headline or "" for a in articles]))
    return [Tokenized(a, next(headlines), [next(tokens) for _ in a.sentences]) for a in articles]


def token_range(tokens: Tokens, start: int, end: int) -> tuple[int, int] | None:
    """Tokens that overlap the span of code points."""
    inside = [i for i, (a, b) in enumerate(tokens.spans) if a < end and b > start]
    return (inside[0], inside[-1] + 1) if inside else None


def tag_rows(tokens: Tokens, spans: list[tuple[int, int]]) -> np.ndarray:
    """O, B, I on the first token of each word; other tokens have no label."""
    row = [0 if start else -1 for start in tokens.word_start]
    for start, end in spans:
        found = token_range(tokens, start, end)
        if found is None:
            continue
        low, high = found
        while low > 0 and not tokens.word_start[low]:
            low -= 1
        for i in range(low, high):
            if tokens.word_start[i]:
                row[i] = 1 if i == low else 2
    table = np.vstack([np.eye(3, dtype=np.float32), np.full((1, 3), NONE, np.float32)])
    return table[row]


def word_rows(tokens: Tokens, words: list[list[float]]) -> np.ndarray:
    """The same of a teacher's answers, one a word."""
    rows = np.full((len(tokens.ids), 3), NONE, np.float32)
    starts = np.array(tokens.word_start, bool)
    # A sentence that has lost its stop has a word less.
    if len(words) - starts.sum() not in (0, 1):
        raise ValueError(f"{len(words)} answers to {starts.sum()} words")
    rows[starts] = words[: int(starts.sum())]
    return rows


def mixed(labels: np.ndarray, answers: np.ndarray, share: float) -> np.ndarray:
    """Targets between labels and a teacher's answers, `share` of the latter; none where there is no label."""
    return ((1 - share) * labels + share * answers).astype(np.float32)


def one_hot(label: int, count: int, smoothing: float = 0.0) -> list[float]:
    return [(1 - smoothing) * (i == label) + smoothing / count for i in range(count)]


def without_last_stop(tokens: Tokens, stop: int) -> Tokens:
    if len(tokens.ids) < 2 or tokens.ids[-1] != stop:
        return tokens
    return Tokens(tokens.ids[:-1], tokens.cases[:-1], tokens.word_start[:-1], tokens.spans[:-1])


def disturbed(tokenizer, doc: Tokenized, rng: random.Random, disturb: bool) -> Tokenized:
    """Now and then without a headline; with `disturb` also with one in capitals, or without the
    stops at the ends of sentences, as feeds and scrapers leave them."""
    headline, sentences = doc.headline, doc.sentences
    chance = rng.random()
    if chance < 0.15:
        headline = None
    if not disturb:
        return Tokenized(doc.article, headline, sentences)
    if 0.15 <= chance < 0.25 and headline is not None:
        upper = [3 if case else 0 for case in headline.cases]
        headline = Tokens(headline.ids, upper, headline.word_start, headline.spans)
    if rng.random() < 0.1:
        stop = tokenizer.token_to_id(".")
        sentences = [without_last_stop(s, stop) for s in sentences]
    return Tokenized(doc.article, headline, sentences)


def hidden(tokenizer, item: Item, rng: random.Random, share: float) -> Item:
    """Every other window with about `share` of its tokens as [MASK], their cases left as they are."""
    if not share or rng.random() < 0.5:
        return item
    mask, keep = tokenizer.token_to_id("[MASK]"), [tokenizer.token_to_id(n) for n in ("[CLS]", "[SEP]")]
    ids = [i if i in keep or rng.random() >= share else mask for i in item.ids]
    return replace(item, ids=ids)


def pieces_of(doc: Tokenized, rng: random.Random, share: float) -> list[Tokenized]:
    """`share` of the articles in pieces of a few sentences, each a text of its own, as alerts and search
    hits are; a third of the pieces keep the headline."""
    if len(doc.sentences) == 1 or rng.random() >= share:
        return [doc]
    pieces, first = [], 0
    while first < len(doc.sentences):
        end = first + rng.choice(PIECES)
        headline = doc.headline if rng.random() < 1 / 3 else None
        pieces.append(piece(doc, first, end, headline))
        first = end
    return pieces


def piece(doc: Tokenized, first: int, end: int, headline: Tokens | None) -> Tokenized:
    article = corpora.Article(doc.article.id, doc.article.headline, doc.article.sentences[first:end])
    return Tokenized(article, headline, doc.sentences[first:end])


def in_pieces(docs: list[Tokenized], size: int) -> list[Tokenized]:
    """Articles as texts of so many sentences, without headlines."""
    starts = lambda d: range(0, len(d.sentences), size)
    return [piece(d, first, first + size, None) for d in docs for first in starts(d)]


def items_of(
    tokenizer,
    doc: Tokenized,
    shape: Shape,
    rng: random.Random,
    corpus: str,
    disturb: bool = False,
    smoothing: float = 0.0,
    share: float = 0.0,
) -> list[Item]:
    """Cuts an article into labelled windows, at other places in every epoch. `smoothing` is that of
    its sentiments; `share` is how much a teacher's answers count beside labels. (Without labels they are all that counts.)"""
    budget = None
    if len(doc.sentences) > 1:
        budget = rng.randint(shape.window_tokens // 4, shape.window_tokens)
        doc = disturbed(tokenizer, doc, rng, disturb)
    count, items = len(doc.sentences), []
    for window in make_windows(tokenizer, doc.headline, doc.sentences, shape, budget):
        n = len(window.ids)
        empty = np.full((n, 3), NONE, np.float32)
        item = Item(
            window.ids, window.cases, [], [], [], empty, empty.copy(), [], [], corpus
        )
        for index, first, end, answered in window.sentences:
            sentence, tokens = doc.article.sentences[index], doc.sentences[index]
            # A sentence in pieces is so rare that learning from it is not worth the code; one of signs
            # that no token stands for has nothing to learn from.
            if not answered or end == first or end - first < len(tokens.ids):
                continue
            slot = len(item.sentences)
            item.sentences.append((first, end))
            item.places.append((bucket(index), bucket(count - 1 - index)))
            kind = [NONE] * 5 if sentence.type is None else one_hot(sentence.type, 5)
            if sentence.doubt is not None:
                kind[sentence.type] = kind[sentence.doubt] = 0.5
            sentiments = [one_hot(label, 3, smoothing) for _, _, label, _ in sentence.mentions]
            party, speaker = item.party[first:end], item.speaker[first:end]
            if sentence.tagged:
                party[:] = tag_rows(tokens, [m[:2] for m in sentence.mentions])
                if sentence.type in (0, 2):
                    spans = [sentence.speaker] if sentence.speaker else []
                    speaker[:] = tag_rows(tokens, spans)
            soft = sentence.soft
            if soft and sentence.labelled:
                # Not of tags, which it knows no better than the student.
                kind = mixed(np.array(kind), np.array(soft.type), share).tolist()
                if soft.sentiment:
                    sentiments = mixed(np.array(sentiments), np.array(soft.sentiment), share).tolist()
            elif soft:
                kind, sentiments = soft.type, soft.sentiment
                party[:] = word_rows(tokens, soft.party)
                speaker[:] = word_rows(tokens, soft.speaker)
            item.types.append(kind)
            for (start, stop, _, _), sentiment in zip(sentence.mentions, sentiments):
                found = token_range(tokens, start, stop)
                if found:
                    item.mentions.append((slot, first + found[0], first + found[1]))
                    item.sentiments.append(sentiment)
        if item.sentences:
            items.append(item)
    return items


def batches_of(items: list[Item], budget: int, rng: random.Random) -> list[list[Item]]:
    """Windows of like length together, `budget` padded tokens a batch, in random order."""
    order = sorted(items, key=lambda i: (len(i.ids) // 8, rng.random()))
    batches, batch = [], []
    for item in order:
        if batch and (len(batch) + 1) * len(item.ids) > budget:
            batches.append(batch)
            batch = []
        batch.append(item)
    if batch:
        batches.append(batch)
    rng.shuffle(batches)
    return batches
