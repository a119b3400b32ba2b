"""Whether answers hold when only the look of the text changes.

    python training/robustness.py --copydesk target/release/copydesk examples/articles/articles.jsonl

Every article is answered as it is and in each of the changes below; then sentences of the same number
are compared. `tellings.jsonl` beside this file holds the same story told by a wire and by a tabloid.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Shapes that scanners take for one another.
LOOKALIKES = (("rn", "m"), ("l", "1"), ("cl", "d"), ("O", "0"), ("e", "c"))


def curly(text: str) -> str:
    text = re.sub(r'(^|[\s(\u2014-])"', "\\1\u201c", text).replace('"', "\u201d")
    return re.sub(r"(\w)'(\w)", "\\1\u2019\\2", text)


def straight(text: str) -> str:
    for quotes, plain in (("\u201c\u201d", '"'), ("\u2018\u2019", "'")):
        for quote in quotes:
            text = text.replace(quote, plain)
    return text


def no_last_stop(text: str) -> str:
    return re.sub(r"\.(?=\s*(\n\n|$))", "", text)


def words(share: float, change: Callable[[str, random.Random], str]) -> Callable[[str], str]:
    """Changes this share of the longer lower-case words: names and numbers stay."""

    def run(text: str) -> str:
        rng = random.Random(1)
        pick = lambda m: change(m[0], rng) if rng.random() < share else m[0]
        return re.sub(r"\b[a-z]{5,}\b", pick, text)

    return run


def swapped(word: str, rng: random.Random) -> str:
    at = rng.randrange(1, len(word) - 2)
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def scanned(word: str, rng: random.Random) -> str:
    found = [pair for pair in LOOKALIKES if pair[0] in word]
    return word.replace(*rng.choice(found), 1) if found else word


def body(change: Callable[[str], str]) -> Callable[[dict], dict]:
    def run(article: dict) -> dict:
        if "text" in article:
            return {**article, "text": change(article["text"])}
        return {**article, "sentences": [change(s) for s in article["sentences"]]}

    return run


CHANGES: dict[str, Callable[[dict], dict]] = {
    "curly quotation marks": body(curly),
    "straight quotation marks": body(straight),
    "headline in capitals": lambda a: {**a, "headline": a.get("headline", "").upper()},
    "no headline": lambda a: {k: v for k, v in a.items() if k != "headline"},
    "paragraphs without their last stop": body(no_last_stop),
    "two spaces after a stop": body(lambda t: re.sub(r"([.!?]) (?=\S)", r"\1  ", t)),
    "letters swapped in 5 % of long words": body(words(0.05, swapped)),
    "scanner's errors in 5 % of long words": body(words(0.05, scanned)),
}


def classify(copydesk: Path, articles: list[dict]) -> list[dict]:
    """Answers, in order."""
    lines = "\n".join(json.dumps(a) for a in articles) + "\n"
    command = [copydesk, "classify", "--format", "jsonl", "-"]
    answer = subprocess.run(command, input=lines, text=True, capture_output=True, check=True)
    return [json.loads(line) for line in answer.stdout.splitlines()]


def sentiments(answer: dict, sentence: dict) -> dict[str, str]:
    """Name → sentiment of the parties in a sentence."""
    names = {p["id"]: p["name"] for p in answer["parties"]}
    return {names[p["party"]]: p["sentiment"] for p in sentence["parties"]}


def compare(before: list[dict], after: list[dict]) -> tuple[list[int], list[int], int]:
    """Types kept and compared, sentiments kept and compared, articles that were cut otherwise."""
    types, feelings, cut = [0, 0], [0, 0], 0
    for a, b in zip(before, after, strict=True):
        if len(a["sentences"]) != len(b["sentences"]):
            cut += 1
            continue
        for s, t in zip(a["sentences"], b["sentences"]):
            types[0] += s["type"] == t["type"]
            types[1] += 1
            old, new = sentiments(a, s), sentiments(b, t)
            for name in old.keys() & new.keys():
                feelings[0] += old[name] == new[name]
                feelings[1] += 1
    return types, feelings, cut


def share(kept: list[int]) -> str:
    return f"{kept[0] / max(1, kept[1]):.3f} of {kept[1]}"


def tellings(copydesk: Path) -> tuple[int, int, list[str]]:
    """Pairs that get the same type, pairs, and those that do not."""
    pairs = [json.loads(line) for line in (HERE / "tellings.jsonl").read_text().splitlines()]
    articles = [
        {"id": f"{n}-{side}", "headline": pair["headline"], "sentences": [pair["lead"], pair[side]]}
        for n, pair in enumerate(pairs)
        for side in ("wire", "tabloid")
    ]
    found = [a["sentences"][1]["type"] for a in classify(copydesk, articles)]
    both = list(zip(pairs, found[::2], found[1::2]))
    differ = [f"{w} / {t}: {p['wire']} / {p['tabloid']}" for p, w, t in both if w != t]
    return len(pairs) - len(differ), len(pairs), differ


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--copydesk", type=Path, required=True)
    parser.add_argument("articles", type=Path, help="id, headline, text: JSON Lines")
    options = parser.parse_args()
    articles = [json.loads(line) for line in options.articles.read_text().splitlines()]
    before = classify(options.copydesk, articles)
    print("| change | type kept | sentiment kept | articles cut otherwise |")
    print("|---|---|---|---|")
    for name, change in CHANGES.items():
        types, feelings, cut = compare(before, classify(options.copydesk, list(map(change, articles))))
        print(f"| {name} | {share(types)} | {share(feelings)} | {cut} of {len(articles)} |")
    same, pairs, differ = tellings(options.copydesk)
    print(f"\nA wire's telling and a tabloid's: {same} of {pairs} get the same type.")
    print("\n".join(differ))


if __name__ == "__main__":
    main()
