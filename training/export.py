"""Writes the model directory that copydesk loads: config.json, tokenizer.json, f16 weights."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from corpora import SENTIMENTS, TYPES
from network import Copydesk
from windows import CASES, PLACE_BUCKETS, Shape, load_tokenizer

FORMAT = 1


def tensors(model) -> dict[str, torch.Tensor]:
    """The encoder by BERT's own names, the heads under `heads.`."""
    out = {}
    for name, value in model.state_dict().items():
        if name.endswith("position_ids"):
            continue
        key = name.removeprefix("encoder.") if name.startswith("encoder.") else f"heads.{name}"
        out[key] = value.detach().to(torch.float16).contiguous()
    return out


def load(directory: Path):
    """What `export` wrote: the model, its tokenizer, its shape and its whole config."""
    config = json.loads((directory / "config.json").read_text())
    model = Copydesk.from_config(config)
    model.load_state_dict(weights_of(directory))
    shape = Shape(**{name: config["copydesk"][name] for name in asdict(Shape())})
    return model, load_tokenizer(str(directory / "tokenizer.json")), shape, config


def weights_of(directory: Path) -> dict[str, torch.Tensor]:
    """The inverse of `tensors`: a model directory's weights, widened to f32, by the network's names."""
    found = load_file(str(directory / "model.safetensors"))
    name = lambda key: key.removeprefix("heads.") if key.startswith("heads.") else f"encoder.{key}"
    return {name(key): value.float() for key, value in found.items()}


@dataclass(frozen=True)
class Card:
    """What a model's config says of its making."""

    id: str
    revision: str
    base: str
    data: list[str]


def config(model, shape: Shape, temperatures: dict, card: Card) -> dict:
    bert = model.encoder.config
    kept = (
        "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
        "hidden_act", "layer_norm_eps", "max_position_embeddings", "type_vocab_size",
        "vocab_size", "pad_token_id", "hidden_dropout_prob", "attention_probs_dropout_prob",
        "initializer_range",
    )
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "position_embedding_type": "absolute",
        **{k: getattr(bert, k) for k in kept},
        "copydesk": {
            "format": FORMAT,
            "id": card.id,
            "revision": card.revision,
            "language": "en",
            "types": list(TYPES),
            "sentiments": list(SENTIMENTS),
            "tags": ["O", "B", "I"],
            "cases": list(CASES),
            "place_buckets": list(PLACE_BUCKETS),
            **asdict(shape),
            "temperatures": temperatures,
            "base_model": card.base,
            "training_data": card.data,
        },
    }


def export(model, tokenizer, card: Card, out: Path, shape: Shape, temperatures: dict) -> None:
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(config(model, shape, temperatures, card), indent=2) + "\n"
    (out / "config.json").write_text(text)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.save(str(out / "tokenizer.json"), pretty=False)
    save_file(tensors(model), str(out / "model.safetensors"), metadata={"format": "pt"})
