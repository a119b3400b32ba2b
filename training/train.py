"""Trains the default model: data folder → model directory.

    python training/train.py --data DATA --base BASE --out models/news-en
    python training/train.py --train MINE.jsonl --dev OTHERS.jsonl --init models/news-en --out DIR

DATA holds `newsroom/`, `newsmtsc/`, `newstsc/` and, if asked for, `dse/`. BASE is a BERT model
directory as the Hub lays it out. The run goes on from `--work`/checkpoint.pt if there is one.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy

import corpora
import decode
import metrics
from export import Card, export, weights_of
from network import Copydesk
from teacher import Mpnet
from windows import Shape, Tokens, bucket, load_tokenizer, make_windows, tokenize

# A target without a label.
NONE = math.nan


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
    rows[np.array(tokens.word_start, bool)] = words
    return rows


def one_hot(label: int, count: int) -> list[float]:
    return [float(i == label) for i in range(count)]


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
    # A teacher's answers count the words of the sentence as it was.
    if rng.random() < 0.1 and not any(s.soft for s in doc.article.sentences):
        stop = tokenizer.token_to_id(".")
        sentences = [without_last_stop(s, stop) for s in sentences]
    return Tokenized(doc.article, headline, sentences)


def items_of(tokenizer, doc: Tokenized, shape: Shape, rng: random.Random, corpus: str, disturb: bool = False) -> list[Item]:
    """Cuts an article into labelled windows, at other places in every epoch."""
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
            # A sentence in pieces is so rare that learning from it is not worth the code.
            if not answered or end - first < len(tokens.ids):
                continue
            slot = len(item.sentences)
            item.sentences.append((first, end))
            item.places.append((bucket(index), bucket(count - 1 - index)))
            sentiments = [one_hot(label, 3) for _, _, label, _ in sentence.mentions]
            if sentence.soft:
                kind, sentiments = sentence.soft.type, sentence.soft.sentiment
                item.party[first:end] = word_rows(tokens, sentence.soft.party)
                item.speaker[first:end] = word_rows(tokens, sentence.soft.speaker)
            else:
                kind = [NONE] * 5 if sentence.type is None else one_hot(sentence.type, 5)
            if sentence.tagged:
                item.party[first:end] = tag_rows(tokens, [m[:2] for m in sentence.mentions])
                if sentence.type in (0, 2):
                    spans = [sentence.speaker] if sentence.speaker else []
                    item.speaker[first:end] = tag_rows(tokens, spans)
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


def segment_mean(states: torch.Tensor, ranges: list[tuple[int, int]]) -> torch.Tensor:
    """[tokens, hidden] → one mean a range."""
    index = torch.cat([torch.arange(a, b) for a, b in ranges])
    sizes = torch.tensor([b - a for a, b in ranges])
    owner = torch.repeat_interleave(torch.arange(len(ranges)), sizes)
    total = torch.zeros(len(ranges), states.shape[1]).index_add(0, owner, states[index])
    return total / sizes[:, None]


def sentiment_logits(model, states, mentions, sentences, means) -> torch.Tensor:
    """`mentions` are (sentence, first, end); `sentences` are token ranges into `states`."""
    vectors = segment_mean(states, [(a, b) for _, a, b in mentions])
    width = max(sentences[s][1] - sentences[s][0] for s, _, _ in mentions)
    starts = torch.tensor([sentences[s][0] for s, _, _ in mentions])
    sizes = torch.tensor([sentences[s][1] - sentences[s][0] for s, _, _ in mentions])
    offsets = torch.arange(width)[None, :]
    mask = offsets < sizes[:, None]
    index = torch.where(mask, starts[:, None] + offsets, starts[:, None])
    owner = torch.tensor([s for s, _, _ in mentions])
    return model.sentiment(vectors, states[index], mask, means[owner])


def loss_of(logits: torch.Tensor, targets: torch.Tensor, weights=None, smoothing=0.0):
    """Mean cross-entropy against distributions [rows, classes]; a row without one is left out.
    `weights` [rows or 1, classes] weigh a row by what it says."""
    keep = ~targets[:, 0].isnan()
    if not keep.any():
        return None
    each = cross_entropy(logits[keep], targets[keep], reduction="none", label_smoothing=smoothing)
    if weights is None:
        return each.mean()
    weight = (targets * weights).sum(1)[keep]
    return (each * weight).sum() / weight.sum()


def losses(model: Copydesk, batch: list[Item], options) -> dict[str, torch.Tensor]:
    width = max(len(i.ids) for i in batch)
    pad = lambda rows, fill: torch.tensor([r + [fill] * (width - len(r)) for r in rows])
    ids, cases = pad([i.ids for i in batch], 0), pad([i.cases for i in batch], 0)
    mask = pad([[1] * len(i.ids) for i in batch], 0)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=options.bf16):
        states = model.states(ids, cases, mask)
    states = states.float().reshape(-1, states.shape[-1])
    sentences = [(r * width + a, r * width + b) for r, i in enumerate(batch) for a, b in i.sentences]
    means = segment_mean(states, sentences)
    places = torch.tensor([p for i in batch for p in i.places])
    types = torch.tensor([t for i in batch for t in i.types])
    out = {
        "type": loss_of(
            model.sentence_type(means, places), types, options.type_weights, options.smoothing
        )
    }
    for name, head in (("party", model.party), ("speaker", model.speaker)):
        rows = [getattr(i, name) for i in batch]
        fill = lambda r: np.full((width - len(r), 3), NONE, np.float32)
        tags = torch.from_numpy(np.concatenate([x for r in rows for x in (r, fill(r))]))
        keep = ~tags[:, 0].isnan()
        out[name] = loss_of(head(states[keep]), tags[keep])
    mentions, base = [], 0
    for r, item in enumerate(batch):
        mentions += [(base + s, r * width + a, r * width + b) for s, a, b in item.mentions]
        base += len(item.sentences)
    if mentions:
        logits = sentiment_logits(model, states, mentions, sentences, means)
        targets = torch.tensor([t for i in batch for t in i.sentiments])
        weights = torch.tensor([options.sentiment_weights[i.corpus] for i in batch for _ in i.mentions])
        each = cross_entropy(logits, targets, reduction="none", label_smoothing=options.smoothing)
        out["sentiment"] = (each * (targets * weights).sum(1)).mean()
    return {name: value for name, value in out.items() if value is not None}


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


def evaluate_newsroom(docs, answers, temperatures=(1.0, 1.0)) -> dict:
    types, types_hat, type_logits = [], [], []
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
            type_logits.append(row["type"])
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
    t = np.array(type_logits)
    s = np.array(logits)
    soft = lambda z, temp: np.exp(decode.log_softmax(z / temp))
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
        "type_ece": metrics.expected_calibration_error(soft(t, temperatures[0]), np.array(types)),
        "sentiment_ece": metrics.expected_calibration_error(
            soft(s, temperatures[1]), np.array(labels)
        ),
        "type_temperature": metrics.temperature(t, np.array(types)),
        "sentiment_temperature": metrics.temperature(s, np.array(labels)),
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
        f"({feel}) rw {figures.get('newsmtsc_rw', NONE):.4f} mt {figures.get('newsmtsc_mt', NONE):.4f} "
        f"ece {figures['type_ece']:.3f} {figures['sentiment_ece']:.3f}"
    )


def dev_figures(model, tokenizer, dev, shape) -> dict:
    figures = evaluate_newsroom(dev["newsroom"], predict(model, tokenizer, dev["newsroom"], shape))
    for name in dev.keys() - {"newsroom"}:
        answers = predict(model, tokenizer, dev[name], shape)
        figures[f"newsmtsc_{name}"] = evaluate_sentiment(answers)
    return figures


def optimizer_of(model: Copydesk, options) -> torch.optim.AdamW:
    if isinstance(model.encoder, Mpnet):
        new = set(map(id, model.encoder.case.parameters()))
    else:
        embeddings = model.encoder.embeddings
        embeddings.word_embeddings.weight.requires_grad = options.unfreeze
        new = set(map(id, embeddings.token_type_embeddings.parameters()))
    groups: dict[tuple[float, float], list] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        head = not name.startswith("encoder.") or id(parameter) in new
        decay = 0.0 if parameter.ndim == 1 else options.decay
        rate = options.head_rate if head else options.rate
        groups.setdefault((rate, decay), []).append(parameter)
    return torch.optim.AdamW(
        [{"params": p, "lr": r, "weight_decay": d} for (r, d), p in groups.items()],
        betas=(0.9, 0.98), fused=True,
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, help="the folder of corpora")
    add("--train", type=Path, help="in its place: labelled articles of one's own")
    add("--dev", type=Path, help="others, for the figures and the calibration")
    add("--base", type=Path, help="BERT or MPNet directory to start from")
    add("--base-name", default="sentence-transformers/all-MiniLM-L6-v2",
        help="what the config says the encoder was before training")
    add("--out", type=Path, help="model directory to write")
    add("--teacher", action="store_true", help="write no model directory, leave the checkpoint")
    add("--tokenizer", type=Path, default=None, help="tokenizer.json, if not the base's")
    add("--id", default="news-en", help="the model's name in its config")
    add("--revision", default="1")
    add("--work", type=Path, default=Path("work"), help="checkpoints and logs")
    add("--seed", type=int, default=1)
    add("--epochs", type=int, default=4)
    add("--rate", type=float, default=2e-4)
    add("--head-rate", type=float, default=1e-3)
    add("--decay", type=float, default=0.01)
    add("--batch-tokens", type=int, default=1024)
    add("--window-tokens", type=int, default=256)
    add("--smoothing", type=float, default=0.0)
    add("--extra", nargs="*", default=["newstsc"], choices=["newstsc", "dse"])
    add("--articles", type=int, default=None, help="train on the first N articles only")
    add("--unfreeze", action="store_true", help="train the word embeddings too")
    add("--soft", type=Path, default=None, help="articles that a teacher labelled (label.py)")
    add("--init", type=Path, help="model directory to start from, in place of a base")
    add("--disturb", action="store_true",
        help="now and then headlines in capitals and sentences without their stops")
    add("--freeze", type=int, default=0, help="leave the first N layers of a teacher as they are")
    add("--bf16", action="store_true",
        help="pays on processors that multiply bf16 (AMX, AVX512-BF16); elsewhere it is 25 times slower")
    add("--threads", type=int, default=2)
    options = parser.parse_args()
    if (options.train is None) != (options.dev is None) or (options.data is None) == (
        options.train is None
    ):
        parser.error("name the corpora with --data, or articles of your own with --train and --dev")
    if options.train and options.soft:
        parser.error("--soft goes with the corpora of --data")
    if (options.base is None) == (options.init is None):
        parser.error("start from a --base or from a model directory, --init")
    if (options.out is None) != options.teacher:
        parser.error("a student is written to --out; a --teacher is not")
    # Rare classes weigh more, by about the square root of how rare they are.
    options.type_weights = torch.tensor([1.0, 0.85, 1.5, 1.2, 1.0])
    rare, even = [1.3, 0.8, 1.9], [1.0, 1.0, 1.1]
    options.sentiment_weights = {"newsroom": rare, "newsmtsc": even, "newstsc": rare, "dse": rare,
                                 "soft": rare}
    return options


Sets = dict[str, list[Tokenized]]


def corpora_of(load, options) -> tuple[Sets, Sets]:
    """What the default model is trained and chosen on."""
    data = options.data
    train = {
        "newsroom": load(corpora.newsroom(data / "newsroom/train.jsonl")[: options.articles]),
        "newsmtsc": load(corpora.newsmtsc(data / "newsmtsc/train.jsonl")),
    }
    if "newstsc" in options.extra:
        train["newstsc"] = load(corpora.newstsc(data / "newstsc"))
    if "dse" in options.extra:
        train["dse"] = load(corpora.dse(data / "dse/train.targets.jsonl"))
    if options.soft:
        train["soft"] = load(corpora.labelled(options.soft))
    dev = {
        "newsroom": load(corpora.newsroom(data / "newsroom/dev.jsonl")),
        "rw": load(corpora.newsmtsc(data / "newsmtsc/dev_rw.jsonl")),
        "mt": load(corpora.newsmtsc(data / "newsmtsc/dev_mt.jsonl")),
    }
    return train, dev


def own(load, options) -> tuple[Sets, Sets]:
    """Labelled articles of one's own."""
    return (
        {"newsroom": load(corpora.newsroom(options.train)[: options.articles])},
        {"newsroom": load(corpora.newsroom(options.dev))},
    )


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    options.work.mkdir(parents=True, exist_ok=True)
    shape = Shape(window_tokens=options.window_tokens)
    if options.init:
        description = json.loads((options.init / "config.json").read_text())
        shape = Shape(**{k: description["copydesk"][k] for k in asdict(shape)})
    start = options.init or options.base
    tokenizer = load_tokenizer(str(options.tokenizer or start / "tokenizer.json"))
    load = lambda articles: tokenize_articles(tokenizer, articles)
    train, dev = own(load, options) if options.train else corpora_of(load, options)

    def epoch_batches(epoch: int) -> list[list[Item]]:
        rng = random.Random(options.seed * 1000 + epoch)
        batches = []
        for corpus, docs in train.items():
            items = [i for d in docs for i in items_of(tokenizer, d, shape, rng, corpus, options.disturb)]
            batches += batches_of(items, options.batch_tokens, rng)
        rng.shuffle(batches)
        return batches

    if options.init:
        model = Copydesk.from_config(description)
        model.load_state_dict(weights_of(options.init))
        base_name = description["copydesk"]["base_model"]
    else:
        model = Copydesk.from_base(str(options.base), options.freeze)
        base_name = options.base_name
    optimizer = optimizer_of(model, options)
    total = int(len(epoch_batches(0)) * options.epochs)
    warm = max(1, total // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 1) / warm, max(0.0, (total - s) / max(1, total - warm)))
    )
    saved, epoch, done, step = options.work / "checkpoint.pt", 0, 0, 0
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        epoch, done, step = state["epoch"], state["done"], state["step"]
        torch.set_rng_state(state["rng"])
        print(f"going on from epoch {epoch}, batch {done}", flush=True)

    def save(epoch: int, done: int) -> None:
        state = {
            "model": model.state_dict(), "optimizer": optimizer.state_dict(),
            "schedule": schedule.state_dict(), "epoch": epoch, "done": done, "step": step,
            "rng": torch.get_rng_state(),
        }
        torch.save(state, saved.with_suffix(".new"))
        saved.with_suffix(".new").replace(saved)

    weights = {"type": 1.0, "party": 2.0, "speaker": 1.5, "sentiment": 1.0}
    figures: dict = {}
    while epoch < options.epochs:
        batches, began, seen, sums = epoch_batches(epoch), time.time(), 0, {}
        for number, batch in enumerate(batches[done:], done):
            model.train()
            parts = losses(model, batch, options)
            loss = sum(weights[n] * v for n, v in parts.items())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            step += 1
            seen += sum(len(i.ids) for i in batch)
            for name, value in parts.items():
                sums.setdefault(name, []).append(value.item())
            if not math.isfinite(loss.item()):
                raise SystemExit(f"loss is {loss.item()} at epoch {epoch}, batch {number}")
            if (number + 1) % 100 == 0:
                means = " ".join(f"{n} {np.mean(v[-100:]):.3f}" for n, v in sums.items())
                rate = seen / (time.time() - began)
                print(f"epoch {epoch} {number + 1}/{len(batches)} {means} {rate:.0f} tok/s", flush=True)
            if (number + 1) % 500 == 0:
                save(epoch, number + 1)
        epoch, done = epoch + 1, 0
        save(epoch, 0)
        figures = dev_figures(model, tokenizer, dev, shape)
        print(f"epoch {epoch} took {time.time() - began:.0f} s: {summary(figures)}", flush=True)
        (options.work / f"dev-{epoch}.json").write_text(json.dumps(figures, indent=1))
    if not figures:
        figures = dev_figures(model, tokenizer, dev, shape)
        print(summary(figures))
    if options.teacher:
        return
    names = [n if n != "soft" else "articles labelled by a teacher" for n in train]
    card = Card(options.id, options.revision, base_name, names)
    export(model, tokenizer, card, options.out, shape, figures)
    print(f"wrote {options.out} with {json.dumps(asdict(shape))}")


if __name__ == "__main__":
    main()
