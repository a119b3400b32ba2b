"""What the peers compute, as modules: the same for PyTorch and for the export to ONNX."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import gelu

from reference import Copydesk


class Encoder(nn.Module):
    """Windows → token states."""

    def __init__(self, model: Copydesk) -> None:
        super().__init__()
        self.encoder = model.encoder

    def forward(
        self,
        ids: torch.Tensor,  # [sequences, tokens]
        cases: torch.Tensor,  # [sequences, tokens]
        mask: torch.Tensor | None = None,  # [sequences, tokens], 0 where a row is padded
    ) -> torch.Tensor:
        answer = self.encoder(input_ids=ids, token_type_ids=cases, attention_mask=mask)
        return answer.last_hidden_state


class EncoderHeads(nn.Module):
    """Windows → the type logits of all sentences, the party and speaker logits of all words."""

    def __init__(self, model: Copydesk) -> None:
        super().__init__()
        self.encode = Encoder(model)
        self.sentence_type = model.sentence_type
        self.party = model.party
        self.speaker = model.speaker

    def forward(
        self,
        ids: torch.Tensor,
        cases: torch.Tensor,
        pool: torch.Tensor,  # [sequences, pieces, tokens], a token's weight in its sentence's mean
        owner: torch.Tensor,  # [sentences, sequences · pieces], 1 where a piece is the sentence's
        places: torch.Tensor,  # [sentences, 2]
        words: torch.Tensor,  # [words], rows of the flattened states
        mask: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        states = self.encode(ids, cases, mask)
        means = owner @ (pool @ states).flatten(0, 1)
        first = states.flatten(0, 1)[words]
        return self.sentence_type(means, places), self.party(first), self.speaker(first)


class SentenceType(nn.Module):
    """Sentences, each alone → type logits: one pass a sentence, as a classifier of one's own does it."""

    def __init__(self, model: Copydesk) -> None:
        super().__init__()
        self.encode = Encoder(model)
        self.head = model.sentence_type

    def forward(self, ids: torch.Tensor, cases: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        weights = mask[:, :, None].float()
        mean = (self.encode(ids, cases, mask) * weights).sum(1) / weights.sum(1)
        return self.head.out(gelu(self.head.dense(mean)))


class PairSentiment(nn.Module):
    """(sentence, party) pairs → three logits off the first token. The head has the usual size; its
    weights are the type head's, so that the cost is right and the answer means nothing."""

    def __init__(self, model: Copydesk) -> None:
        super().__init__()
        self.encode = Encoder(model)
        self.head = model.sentence_type

    def forward(self, ids: torch.Tensor, cases: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        first = self.encode(ids, cases, mask)[:, 0]
        return self.head.out(gelu(self.head.dense(first)))[:, :3]
