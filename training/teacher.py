"""The teacher's encoder: all-mpnet-base-v2 over the student's tokens.

MPNet's vocabulary is BERT's, moved up by four, so teacher and student see the same tokens and their
logits can be compared one by one. MPNet has no token types: the case of a word is added to the state
that enters the first trained layer.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import MPNetModel

from windows import CASES

_MOVED = 4
# [PAD], [CLS], [SEP] of BERT and what MPNet has in their place.
_SPECIAL = ((0, 1), (101, 0), (102, 2))


class Mpnet(nn.Module):
    """Ids, cases and mask of the student's tokens → states [batch, tokens, 768]."""

    def __init__(self, path: str, frozen_layers: int) -> None:
        super().__init__()
        self.model = MPNetModel.from_pretrained(path, add_pooling_layer=False)
        self.config = self.model.config
        self.case = nn.Embedding(len(CASES), self.config.hidden_size)
        nn.init.normal_(self.case.weight, std=0.02)
        self.frozen_layers = frozen_layers
        self.model.embeddings.requires_grad_(False)
        if frozen_layers:
            self.model.encoder.relative_attention_bias.requires_grad_(False)
        for layer in self.model.encoder.layer[:frozen_layers]:
            layer.requires_grad_(False)
        # It meets every text once or twice, and random numbers cost as much as a layer.
        for module in self.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0

    def _layer(self, layer, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        attention = layer.attention.attn
        batch, tokens, hidden = x.shape
        heads = attention.num_attention_heads
        split = lambda y: y.view(batch, tokens, heads, hidden // heads).transpose(1, 2)
        # Rounded once, not once for each of the three; and `bias` once for all layers.
        rounded = x.to(bias.dtype)
        q, k, v = (split(product(rounded)) for product in (attention.q, attention.k, attention.v))
        found = scaled_dot_product_attention(q, k, v, bias)
        found = attention.o(found.transpose(1, 2).reshape(batch, tokens, hidden))
        x = layer.attention.LayerNorm(layer.attention.dropout(found) + x)
        return layer.output(layer.intermediate(x), x)

    def forward(self, ids: torch.Tensor, cases: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        moved = ids + _MOVED
        for bert, mpnet in _SPECIAL:
            moved[ids == bert] = mpnet
        with torch.set_grad_enabled(False):
            x = self.model.embeddings(input_ids=moved)
        bias = self.model.encoder.compute_position_bias(x)
        bias = bias + torch.where(mask[:, None, None, :] == 0, -1e4, 0.0)
        bf16 = torch.is_autocast_enabled("cpu")
        bias = bias.to(torch.bfloat16 if bf16 else x.dtype)
        for index, layer in enumerate(self.model.encoder.layer):
            if index == self.frozen_layers:
                x = x + self.case(cases)
            grad = torch.is_grad_enabled() and index >= self.frozen_layers
            with torch.set_grad_enabled(grad):
                x = self._layer(layer, x, bias)
        return x
