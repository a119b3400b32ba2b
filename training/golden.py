"""Writes golden.json beside a model: logits of this code, which candle must reproduce.

    python training/golden.py models/news-en
    python training/golden.py --fixture tests/fixtures/tiny

The second form first makes a tiny model of random weights, so that tests need no large file.
"""

from __future__ import annotations

import argparse
import json
import string
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import BertConfig, BertModel

import corpora
from export import Card, export, weights_of
from items import tokenize_articles
from network import Copydesk
from predict import predict
from windows import CASES, Shape, load_tokenizer

# Made up. The last sentence is longer than a window of the fixture.
HEADLINE = "Northland rejects the Harbour Accord"
SENTENCES = [
    ("PORT ELLIS, May 3 (Coast Wire) -- Northland on Tuesday rejected the accord.", [(34, 43)]),
    ("“We will not sign a paper nobody has read,” Foreign Minister Ida Brandt said.", [(60, 70)]),
    ("The Harbour League called her a “brave voice” and blamed the U.S. for the delay.",
     [(4, 18), (61, 65)]),
    ("Reporting by J. Moss; editing by Kai Ünal 🦊", []),
    ("The league, " + "which has met in the old customs house every spring since the war, " * 5
     + "did not answer Brandt.", [(4, 10)]),
]


def tiny(out: Path) -> None:
    torch.manual_seed(7)
    words = sorted({w.strip(string.punctuation + "“”").lower() for s, _ in SENTENCES for w in s.split()})
    letters = string.ascii_lowercase + string.digits + string.punctuation + "“”"
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocab += list(letters) + [f"##{c}" for c in string.ascii_lowercase + string.digits]
    vocab += [w for w in words[::2] if len(w) > 1 and w.isascii()]
    tokenizer = Tokenizer(
        models.WordPiece({t: i for i, t in enumerate(dict.fromkeys(vocab))}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=48, num_hidden_layers=2,
        num_attention_heads=4, intermediate_size=96, max_position_embeddings=96,
        type_vocab_size=len(CASES), layer_norm_eps=1e-12, initializer_range=0.5,
    )
    model = Copydesk(BertModel(config, add_pooling_layer=False))
    temperatures = {"type": 1.5, "sentiment": 1.25}
    shape = Shape(window_tokens=64, context_sentences=2, headline_tokens=8)
    card = Card("news-en", "fixture", "base", ["newsroom", "newsmtsc", "newstsc"])
    export(model, tokenizer, card, out, shape, temperatures)


def golden(directory: Path) -> dict:
    config = json.loads((directory / "config.json").read_text())
    card = config["copydesk"]
    model = Copydesk.from_config(config)
    missing, unexpected = model.load_state_dict(weights_of(directory), strict=False)
    if unexpected or any("position_ids" not in m for m in missing):
        raise SystemExit(f"weights do not fit: missing {missing}, unexpected {unexpected}")
    tokenizer = load_tokenizer(str(directory / "tokenizer.json"))
    shape = Shape(card["window_tokens"], card["context_sentences"], card["headline_tokens"])
    sentences = [
        corpora.Sentence(text, 0, None, [(a, b, 0, g) for g, (a, b) in enumerate(mentions)])
        for text, mentions in SENTENCES
    ]
    docs = tokenize_articles(tokenizer, [corpora.Article("golden", HEADLINE, sentences)])
    answers = predict(model, tokenizer, docs, shape)[0]
    rows = [
        {
            "text": text,
            "mentions": mentions,
            "type": answer["type"].tolist(),
            "party": answer["party"].tolist(),
            "speaker": answer["speaker"].tolist(),
            "sentiment": answer["sentiment"].tolist(),
        }
        for (text, mentions), answer in zip(SENTENCES, answers)
    ]
    return {"headline": HEADLINE, "sentences": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--fixture", action="store_true")
    options = parser.parse_args()
    if options.fixture:
        tiny(options.directory)
    text = json.dumps(golden(options.directory), ensure_ascii=False, indent=None)
    (options.directory / "golden.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
