"""Labels articles with a trained teacher, for `train.py --soft` and `--taught`.

    python training/label.py --base MPNET --tokenizer TOKENIZER --work WORK --articles FILE --out FILE.jsonl.gz
    python training/label.py --base MPNET --tokenizer TOKENIZER --work WORK --data DATA --labels FILES --out FILE.jsonl.gz
    python training/label.py --model models/news-en --articles FILE --out FILE.jsonl.gz

WORK is where `train.py` left the teacher's checkpoint; a model directory teaches itself, so that a later
run does not forget what it knew. Every sentence gets the teacher's probabilities, by the temperatures
of its config for whole articles if it has one: types, tags of words, and the sentiment of the mentions that it finds.
With `--data` it is asked about the texts that are trained on, and about the mentions that their labels have.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path

import numpy as np
import torch

import corpora
import decode
from export import load
from items import tokenize_articles
from network import Copydesk
from predict import predict
from windows import Shape, load_tokenizer

# Articles that are labelled together.
TOGETHER = 32
# The same of sentences that stand alone.
TOGETHER_ALONE = 512


def probabilities(logits: np.ndarray, temperature: float = 1.0) -> list:
    return np.exp(decode.log_softmax(logits / temperature)).round(3).tolist()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--base", type=Path, help="the teacher's base")
    add("--tokenizer", type=Path, help="the student's tokenizer.json")
    add("--work", type=Path, help="where its checkpoint lies")
    add("--model", type=Path, help="a model directory, in place of the three")
    add("--articles", type=Path, help="id, headline, sentences: JSON Lines")
    add("--data", type=Path, help="in their place: the folder of corpora that are trained on")
    add("--labels", type=Path, nargs="*", default=[], help="as `train.py --labels`")
    add("--extra", nargs="*", default=["newstsc"], choices=["newstsc", "dse"], help="as `train.py`")
    add("--window-tokens", type=int, default=256, help="the teacher's, as it was trained")
    add("--only", nargs="+", help="with --data: of the corpora those of these names")
    add("--limit", type=int, default=None)
    add("--out", type=Path, required=True)
    add("--bf16", action="store_true")
    add("--threads", type=int, default=2)
    options = parser.parse_args()
    teacher = (options.base, options.tokenizer, options.work)
    if not (options.model and not any(teacher)) and not (all(teacher) and not options.model):
        parser.error("name --base, --tokenizer and --work, or a --model")
    if bool(options.articles) == bool(options.data):
        parser.error("name --articles or --data")
    if options.limit is not None and options.data:
        parser.error("--limit goes with --articles")
    if (options.labels or options.only) and not options.data:
        parser.error("--labels and --only go with --data")
    if options.out.suffix != ".gz":
        parser.error("--out is compressed and must end in .gz")
    return options


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    temperatures = {"type": 1.0, "sentiment": 1.0}
    if options.model:
        model, tokenizer, shape, config = load(options.model)
        temperatures = config["copydesk"]["temperatures"]
    else:
        tokenizer = load_tokenizer(str(options.tokenizer))
        shape = Shape(window_tokens=options.window_tokens)
        model = Copydesk.from_base(str(options.base))
        state = torch.load(options.work / "checkpoint.pt", weights_only=True)
        model.load_state_dict(state["model"])
    find = options.data is None
    if find:
        sets = {None: corpora.articles(options.articles, options.limit)}
    else:
        sets = corpora.training_sets(options.data, options.extra, options.labels)
        if unknown := set(options.only or ()) - set(sets):
            raise SystemExit(f"--only {min(unknown)}: no such corpus, there are {', '.join(sets)}")
        sets = {name: sets[name] for name in options.only or sets}
    with gzip.open(options.out, "wt", encoding="utf-8") as out:
        for corpus, articles in sets.items():
            together = TOGETHER_ALONE if corpus in corpora.ALONE else TOGETHER
            for low in range(0, len(articles), together):
                docs = tokenize_articles(tokenizer, articles[low : low + together])
                answers = predict(model, tokenizer, docs, shape, find=find, bf16=options.bf16)
                for doc, rows in zip(docs, answers):
                    line = (
                        article(doc.article, rows, temperatures)
                        if find
                        else beside_labels(corpus, doc.article, rows, temperatures)
                    )
                    print(json.dumps(line, ensure_ascii=False), file=out)
                print(f"{corpus or ''} {low + len(docs)}/{len(articles)} articles", flush=True)


def beside_labels(
    corpus: str, article: corpora.Article, rows: list[dict | None], temperatures: dict
) -> dict:
    """One line of the output with `--data`: no text, nothing for a sentence without a token, and no sentiment
    where a labelled mention has none."""
    sentences = []
    for sentence, row in zip(article.sentences, rows):
        if row is None:
            sentences.append(None)
            continue
        sentiment = probabilities(row["sentiment"], temperatures["sentiment"])
        sentences.append(
            {
                "type": probabilities(row["type"], temperatures["type"]),
                "sentiment": sentiment if len(sentiment) == len(sentence.mentions) else [],
            }
        )
    return {"corpus": corpus, "id": article.id, "sentences": sentences}


def article(article: corpora.Article, rows: list[dict | None], temperatures: dict) -> dict:
    """One line of the output; sentences without a token are left out."""
    sentences = [
        {
            "text": sentence.text,
            "type": probabilities(row["type"], temperatures["type"]),
            "party": probabilities(row["party"]),
            "speaker": probabilities(row["speaker"]),
            "mentions": [
                [m[0], m[1], p]
                for m, p in zip(
                    row["mentions"], probabilities(row["sentiment"], temperatures["sentiment"])
                )
            ],
        }
        for sentence, row in zip(article.sentences, rows)
        if row is not None
    ]
    return {"id": article.id, "headline": article.headline, "sentences": sentences}


if __name__ == "__main__":
    main()
