"""Labels articles with a trained teacher, for `train.py --soft`.

    python training/label.py --base MPNET --tokenizer TOKENIZER --work WORK --articles FILE --out FILE.jsonl.gz
    python training/label.py --model models/news-en --articles FILE --out FILE.jsonl.gz

WORK is where `train.py` left the teacher's checkpoint; a model directory teaches itself, so that a later
run does not forget what it knew. Every sentence gets the teacher's probabilities, by the temperatures
of its config for whole articles if it has one: types, tags of words, and the sentiment of the mentions that it finds.
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


def probabilities(logits: np.ndarray, temperature: float = 1.0) -> list:
    return np.exp(decode.log_softmax(logits / temperature)).round(3).tolist()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--base", type=Path, help="the teacher's base")
    add("--tokenizer", type=Path, help="the student's tokenizer.json")
    add("--work", type=Path, help="where its checkpoint lies")
    add("--model", type=Path, help="a model directory, in place of the three")
    add("--articles", type=Path, required=True, help="id, headline, sentences: JSON Lines")
    add("--limit", type=int, default=None)
    add("--out", type=Path, required=True)
    add("--bf16", action="store_true")
    add("--threads", type=int, default=2)
    options = parser.parse_args()
    teacher = (options.base, options.tokenizer, options.work)
    if not (options.model and not any(teacher)) and not (all(teacher) and not options.model):
        parser.error("name --base, --tokenizer and --work, or a --model")
    return options


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    temperatures = {"type": 1.0, "sentiment": 1.0}
    if options.model:
        model, tokenizer, shape, config = load(options.model)
        temperatures = config["copydesk"]["temperatures"]
    else:
        tokenizer, shape = load_tokenizer(str(options.tokenizer)), Shape()
        model = Copydesk.from_base(str(options.base))
        state = torch.load(options.work / "checkpoint.pt", weights_only=True)
        model.load_state_dict(state["model"])
    articles = corpora.articles(options.articles, options.limit)
    with gzip.open(options.out, "wt", encoding="utf-8") as out:
        for low in range(0, len(articles), TOGETHER):
            docs = tokenize_articles(tokenizer, articles[low : low + TOGETHER])
            answers = predict(model, tokenizer, docs, shape, find=True, bf16=options.bf16)
            for doc, rows in zip(docs, answers):
                line = article(doc.article, rows, temperatures)
                print(json.dumps(line, ensure_ascii=False), file=out)
            print(f"{low + len(docs)}/{len(articles)} articles", flush=True)


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
