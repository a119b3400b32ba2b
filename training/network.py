"""The network: BERT, and four heads over its token states.

The names of the parameters are the names in model.safetensors, read by `src/model/`.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import gelu
from transformers import BertConfig, BertModel

from teacher import Mpnet
from windows import CASES, PLACE_BUCKETS

TAG_HIDDEN = 128
TARGET_HEADS = 6


class TypeHead(nn.Module):
    """Mean over the sentence plus its place in the article → 5 logits."""

    def __init__(self, hidden: int, dropout: float) -> None:
        super().__init__()
        self.from_start = nn.Embedding(len(PLACE_BUCKETS) + 1, hidden)
        self.from_end = nn.Embedding(len(PLACE_BUCKETS) + 1, hidden)
        self.dense = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, 5)
        self.dropout = nn.Dropout(dropout)
        for table in (self.from_start, self.from_end):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, mean: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        x = mean + self.from_start(places[:, 0]) + self.from_end(places[:, 1])
        return self.out(self.dropout(gelu(self.dense(self.dropout(x)))))


class TagHead(nn.Module):
    """Token state → logits of O, B, I."""

    def __init__(self, hidden: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden, TAG_HIDDEN)
        self.out = nn.Linear(TAG_HIDDEN, 3)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.out(self.dropout(gelu(self.dense(self.dropout(states)))))


class SentimentHead(nn.Module):
    """The mention attends over its sentence (scaled dot product, `TARGET_HEADS` heads; of a sentence
    longer than a window, over the piece that it begins in); mention, what it found, and the
    sentence's mean → 3 logits."""

    def __init__(self, hidden: int, dropout: float) -> None:
        super().__init__()
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(hidden, hidden)
        self.value = nn.Linear(hidden, hidden)
        self.dense = nn.Linear(3 * hidden, hidden)
        self.out = nn.Linear(hidden, 3)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        mention: torch.Tensor,  # [m, hidden]
        tokens: torch.Tensor,  # [m, t, hidden], the mention's sentence, padded
        mask: torch.Tensor,  # [m, t], true where a token stands
        mean: torch.Tensor,  # [m, hidden]
    ) -> torch.Tensor:
        m, t, hidden = tokens.shape
        split = (m, -1, TARGET_HEADS, hidden // TARGET_HEADS)
        q = self.query(mention).view(split).transpose(1, 2)
        k = self.key(tokens).view(split).transpose(1, 2)
        v = self.value(tokens).view(split).transpose(1, 2)
        found = nn.functional.scaled_dot_product_attention(q, k, v, mask[:, None, None, :])
        found = found.transpose(1, 2).reshape(m, hidden)
        x = torch.cat([mention, found, mean], dim=-1)
        return self.out(self.dropout(gelu(self.dense(self.dropout(x)))))


class Copydesk(nn.Module):
    def __init__(self, encoder: BertModel, dropout: float = 0.1) -> None:
        super().__init__()
        hidden = encoder.config.hidden_size
        self.encoder = encoder
        self.sentence_type = TypeHead(hidden, dropout)
        self.party = TagHead(hidden, dropout)
        self.speaker = TagHead(hidden, dropout)
        self.sentiment = SentimentHead(hidden, dropout)

    @staticmethod
    def from_base(path: str, frozen_layers: int = 0) -> Copydesk:
        """Starts from a BERT of two token types, every case as row 0; or from MPNet, a teacher."""
        if json.loads((Path(path) / "config.json").read_text())["model_type"] == "mpnet":
            return Copydesk(Mpnet(path, frozen_layers))
        encoder = BertModel.from_pretrained(
            path,
            add_pooling_layer=False,
            attn_implementation="sdpa",
            attention_probs_dropout_prob=0.0,
        )
        widen_token_types(encoder)
        model = Copydesk(encoder)
        model.freeze(frozen_layers)
        return model

    @staticmethod
    def from_config(config: dict) -> Copydesk:
        keep = {k: v for k, v in config.items() if k != "copydesk"}
        bert = BertConfig(**keep, attn_implementation="sdpa")
        return Copydesk(BertModel(bert, add_pooling_layer=False))

    def freeze(self, layers: int) -> None:
        """Leaves the first `layers` of a BERT and its embeddings as they are; nothing, if 0."""
        below = [self.encoder.embeddings, *self.encoder.encoder.layer[:layers]] if layers else []
        for module in below:
            module.requires_grad_(False)

    def states(self, ids: torch.Tensor, cases: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if isinstance(self.encoder, Mpnet):
            return self.encoder(ids, cases, mask)
        # On CPU the fused kernel pays only for long sequences (measured: from about 100 tokens).
        kernel = SDPBackend.MATH if ids.shape[1] < 100 else SDPBackend.FLASH_ATTENTION
        with sdpa_kernel(kernel):
            return self.encoder(
                input_ids=ids, token_type_ids=cases, attention_mask=mask
            ).last_hidden_state


def widen_token_types(encoder: BertModel) -> None:
    old = encoder.embeddings.token_type_embeddings.weight.data
    table = nn.Embedding(len(CASES), old.shape[1])
    with torch.no_grad():
        table.weight.copy_(old[:1].expand_as(table.weight))
        table.weight.add_(0.02 * torch.randn_like(table.weight))
        table.weight[0] = old[0]
    encoder.embeddings.token_type_embeddings = table
    encoder.config.type_vocab_size = len(CASES)


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
