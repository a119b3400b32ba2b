"""Cuts articles without labels into sentences as the service does, for `label.py`.

    python training/articles.py --articles FILE.jsonl.gz --out ARTICLES

FILE has `{"id", "headline", "text"}` a line. Needs a built copydesk; which model it has does not
matter, for sentences are cut by rule.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import subprocess
from pathlib import Path


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--articles", type=Path, required=True)
    add("--copydesk", default="copydesk", help="the executable")
    add("--model", type=Path, help="for an executable without a model inside")
    add("--count", type=int, default=1500)
    add("--without", type=Path, nargs="*", default=[], help="labels whose articles are left out")
    add("--longest", type=int, default=60, help="articles of more sentences are left out")
    add("--seed", type=int, default=5)
    add("--out", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    options = parse()
    unpack = gzip.open if options.articles.suffix == ".gz" else open
    with unpack(options.articles, "rt", encoding="utf-8") as lines:
        articles = [json.loads(line) for line in lines]
    labelled = set()
    for path in options.without:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            labelled.update(json.loads(line)["id"] for line in lines)
    articles = [a for a in articles if a["id"] not in labelled]
    random.Random(options.seed).shuffle(articles)
    chosen = articles[: options.count]
    asked = "\n".join(
        json.dumps({"id": a["id"], "headline": a["headline"], "text": a["text"]}) for a in chosen
    )
    command = [options.copydesk, "classify", "--format", "jsonl", "-"]
    if options.model:
        command[2:2] = ["--model", str(options.model)]
    answers = subprocess.run(
        command, input=asked, stdout=subprocess.PIPE, check=True, encoding="utf-8"
    ).stdout
    kept = sentences = 0
    with open(options.out, "w", encoding="utf-8") as out:
        for article, line in zip(chosen, answers.splitlines(), strict=True):
            cut = [s["text"] for s in json.loads(line)["sentences"]]
            if len(cut) > options.longest:
                continue
            row = {"id": article["id"], "headline": article["headline"], "sentences": cut}
            print(json.dumps(row, ensure_ascii=False), file=out)
            kept, sentences = kept + 1, sentences + len(cut)
    print(f"{kept} articles, {sentences} sentences")


if __name__ == "__main__":
    main()
