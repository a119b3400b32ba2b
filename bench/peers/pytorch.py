"""Measures PyTorch, f32 with its fused attention (SDPA), in one configuration, in this process alone.

    python bench/peers/pytorch.py --windows FILE --target encoder --configuration JSON --seconds 10

In the loop: the module's forward pass on tensors made before, and nothing else. Prints tokens per
second, padding not counted, as JSON.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import torch

import batches
import clock
import export
import graphs
import reference
from configuration import Configuration

INPUTS = {"encoder": export.ENCODER, "encoder_heads": export.HEADS}
MODULES = {"encoder": graphs.Encoder, "encoder_heads": graphs.EncoderHeads}


@dataclass(frozen=True)
class Piece:
    """The tensors of a batch. A window alone is not padded and goes without a mask."""

    feed: dict[str, torch.Tensor]
    tokens: int


def piece(batch: batches.Batch, target: str) -> Piece:
    """A batch's arrays as tensors."""
    padded = batch.feed["mask"].min() == 0
    names = [name for name in INPUTS[target] if padded or name != "mask"]
    return Piece({name: torch.from_numpy(batch.feed[name]) for name in names}, batch.tokens)


def measure(windows: Path, target: str, how: Configuration, seconds: float) -> float:
    """Tokens per second."""
    torch.set_num_threads(how.layout.threads)
    module = MODULES[target](reference.load()).eval()
    if how.form == "compiled":
        module = torch.compile(module, dynamic=True)
    work = [piece(batch, target) for batch in batches.make(batches.read(windows), how.batch)]

    @torch.inference_mode()
    def call(piece: Piece) -> None:
        module(**piece.feed)

    # Compilation, before callers meet.
    for piece_ in (work[0], work[-1]):
        call(piece_)
    return clock.rate([call] * how.layout.callers, work, lambda piece: piece.tokens, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--windows", type=Path, required=True)
    add("--target", choices=list(MODULES), required=True)
    add("--configuration", type=Configuration.loads, required=True)
    add("--seconds", type=float, required=True)
    o = parser.parse_args()
    print(json.dumps({"rate": measure(o.windows, o.target, o.configuration, o.seconds)}))


if __name__ == "__main__":
    main()
