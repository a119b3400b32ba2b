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
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy

import corpora
from calibration import temperatures
from evaluate import dev_figures, summary
from export import Card, export, weights_of
from items import NONE, Item, Tokenized, batches_of, hidden, items_of, pieces_of, tokenize_articles
from network import Copydesk, segment_mean, sentiment_logits
from teacher import Mpnet
from windows import Shape, load_tokenizer


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


def times(text: str) -> tuple[str, int]:
    corpus, _, count = text.partition("=")
    if not count.isdecimal() or int(count) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not CORPUS=N, a name and a whole number from 1")
    return corpus, int(count)


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
    add("--epochs", type=float, default=4, help="0.8: one, left after four fifths of its batches")
    add("--rate", type=float, default=2e-4)
    add("--head-rate", type=float, default=1e-3)
    add("--decay", type=float, default=0.01)
    add("--batch-tokens", type=int, default=1024)
    add("--window-tokens", type=int, default=256)
    add("--smoothing", type=float, default=0.0)
    add("--extra", nargs="*", default=["newstsc"], choices=["newstsc", "dse"])
    add("--articles", type=int, default=None, help="train on the first N articles only")
    add("--repeat", type=times, nargs="*", default=[], metavar="CORPUS=N", help="corpora that an epoch meets N times")
    add("--unfreeze", action="store_true", help="train the word embeddings too")
    add("--labels", type=Path, nargs="*", default=[],
        help="labels of articles of DATA/articles/allsides.jsonl.gz or, where so named, of DATA/worldwide; those that "
        "hold a sentence of NewsMTSC's dev sets are left out")
    add("--soft", type=Path, default=None, help="articles that a teacher labelled (label.py)")
    add("--taught", type=Path, default=None,
        help="what a teacher says of the corpora of --data and of --labels (label.py --data)")
    add("--share", type=float, default=0.6, help="of what it says in the targets, the rest are the labels")
    add("--init", type=Path, help="model directory to start from, in place of a base")
    add("--average", type=float, default=1.0, metavar="SHARE",
        help="with --init: write SHARE of the trained weights and the rest of those it started from")
    add("--shrink", type=float, default=0.0, metavar="SHARE",
        help="with --init and --base: start with the layers that are trained SHARE of the way back to the base's")
    add("--disturb", action="store_true",
        help="now and then headlines in capitals and sentences without their stops")
    add("--mask", type=float, default=0.0,
        help="share of the tokens that are hidden, in half of the windows: what a run learns of them must hold without")
    add("--pieces", type=float, default=0.0,
        help="share of the articles that are cut into texts of one to eight sentences")
    add("--alone-smoothing", type=float, default=0.0,
        help="label smoothing of the sentiment of sentences that stand alone")
    add("--freeze", type=int, default=0, help="leave the embeddings and the first N layers as they are")
    add("--bf16", action="store_true",
        help="pays on processors that multiply bf16 (AMX, AVX512-BF16); elsewhere it is 25 times slower")
    add("--threads", type=int, default=2)
    options = parser.parse_args()
    if (options.train is None) != (options.dev is None) or (options.data is None) == (
        options.train is None
    ):
        parser.error("name the corpora with --data, or articles of your own with --train and --dev")
    if options.train and (options.soft or options.labels or options.taught):
        parser.error("--soft, --taught and --labels go with the corpora of --data")
    if options.average != 1.0 and options.init is None:
        parser.error("--average goes with --init")
    if options.shrink and not (options.base and options.init):
        parser.error("--shrink goes with --init and --base")
    if not options.shrink and (options.base is None) == (options.init is None):
        parser.error("start from a --base or from a model directory, --init")
    if (options.out is None) != options.teacher:
        parser.error("a student is written to --out; a --teacher is not")
    # Rare classes weigh more, by about the square root of how rare they are.
    options.type_weights = torch.tensor([1.0, 0.85, 1.5, 1.2, 1.0])
    rare, even = [1.3, 0.8, 1.9], [1.0, 1.0, 1.1]
    options.sentiment_weights = {"newsroom": rare, "newsmtsc": even, "newstsc": rare, "dse": rare,
                                 "allsides": rare, "worldwide": rare, "soft": rare}
    return options


Sets = dict[str, list[Tokenized]]


def corpora_of(load, options) -> tuple[Sets, Sets]:
    """What the default model is trained and chosen on."""
    data = options.data
    sets = corpora.training_sets(data, options.extra, options.labels)
    sets["newsroom"] = sets["newsroom"][: options.articles]
    if options.taught:
        corpora.taught(sets, options.taught)
    if options.soft:
        sets["soft"] = corpora.unseen(corpora.labelled(options.soft), data)
    dev = {
        "newsroom": corpora.newsroom(data / "newsroom/dev.jsonl"),
        "rw": corpora.newsmtsc(data / "newsmtsc/dev_rw.jsonl"),
        "mt": corpora.newsmtsc(data / "newsmtsc/dev_mt.jsonl"),
    }
    train = {name: load(articles) for name, articles in sets.items()}
    return train, {name: load(articles) for name, articles in dev.items()}


def own(load, options) -> tuple[Sets, Sets]:
    """Labelled articles of one's own."""
    return (
        {"newsroom": load(corpora.newsroom(options.train)[: options.articles])},
        {"newsroom": load(corpora.newsroom(options.dev))},
    )


def average(model: Copydesk, start: dict[str, torch.Tensor], share: float) -> None:
    """Weights between those that a run began and ended with, which forget less of the former
    (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models")."""
    state = model.state_dict()
    for name, value in start.items():
        state[name].lerp_(value, 1 - share)


def shrink(model: Copydesk, base: str, share: float) -> None:
    """Moves the layers that are trained part of the way back to what they were before any training, so that a
    run does not go on from what earlier ones learnt by heart (after Ash and Adams 2020, "On warm-starting neural network training")."""
    old = Copydesk.from_base(base).encoder.encoder.layer
    for layer, before in zip(model.encoder.encoder.layer, old, strict=True):
        for parameter, value in zip(layer.parameters(), before.parameters(), strict=True):
            if parameter.requires_grad:
                parameter.data.lerp_(value.data, share)


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
    for corpus, count in options.repeat:
        if corpus not in train:
            raise SystemExit(f"--repeat {corpus}: no such corpus, there are {', '.join(train)}")
        train[corpus] = train[corpus] * count

    def epoch_batches(epoch: int) -> list[list[Item]]:
        rng = random.Random(options.seed * 1000 + epoch)
        batches = []
        for corpus, docs in train.items():
            smoothing = options.alone_smoothing if corpus in corpora.ALONE else 0.0
            items = [
                i
                for d in docs
                for p in pieces_of(d, rng, options.pieces)
                for i in items_of(
                    tokenizer, p, shape, rng, corpus, options.disturb, smoothing, options.share
                )
            ]
            items = [hidden(tokenizer, i, rng, options.mask) for i in items]
            batches += batches_of(items, options.batch_tokens, rng)
        rng.shuffle(batches)
        return batches

    if options.init:
        model = Copydesk.from_config(description)
        model.load_state_dict(weights_of(options.init))
        model.freeze(options.freeze)
        if options.shrink:
            shrink(model, str(options.base), options.shrink)
        base_name = description["copydesk"]["base_model"]
    else:
        model = Copydesk.from_base(str(options.base), options.freeze)
        base_name = options.base_name
    optimizer = optimizer_of(model, options)
    batches = epoch_batches(0)
    total = int(len(batches) * options.epochs)
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
    while step < total and epoch < options.epochs:
        if epoch:
            batches = epoch_batches(epoch)
        began, seen, sums = time.time(), 0, {}
        for number, batch in enumerate(batches[done : done + total - step], done):
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
    if options.average != 1.0:
        average(model, weights_of(options.init), options.average)
        figures = {}
    if not figures:
        print(summary(dev_figures(model, tokenizer, dev, shape)))
    if options.teacher:
        return
    found = temperatures(model, tokenizer, dev, shape)
    names = [n if n != "soft" else "articles labelled by a teacher" for n in train]
    card = Card(options.id, options.revision, base_name, names)
    export(model, tokenizer, card, options.out, shape, found)
    print(f"wrote {options.out} with {json.dumps(asdict(shape))}")


if __name__ == "__main__":
    main()
