"""Measures PyTorch, f32 or bf16 with its fused attention (SDPA), in one configuration, in this process alone.

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
KINDS = {"f32": torch.float32, "bf16": torch.bfloat16}
MODULES = {"encoder": graphs.Encoder, "encoder_heads": graphs.EncoderHeads}


@dataclass(frozen=True)
class Piece:
    """The tensors of a batch. A window alone is not padded and goes without a mask."""

    feed: dict[str, torch.Tensor]
    tokens: int


def piece(batch: batches.Batch, target: str, kind: torch.dtype = torch.float32) -> Piece:
    """A batch's arrays as tensors, its floats of this kind."""
    padded = batch.feed["mask"].min() == 0
    names = [name for name in INPUTS[target] if padded or name != "mask"]
    tensors = {name: torch.from_numpy(batch.feed[name]) for name in names}
    feed = {name: t.to(kind) if t.is_floating_point() else t for name, t in tensors.items()}
    return Piece(feed, batch.tokens)


def measure(windows: Path, target: str, how: Configuration, seconds: float) -> float:
    """Tokens per second."""
    torch.set_num_threads(how.layout.threads)
    kind = KINDS[how.precision]
    module = MODULES[target](reference.load()).eval().to(kind)
    if how.form == "compiled":
        module = torch.compile(module, dynamic=True)
    work = [piece(batch, target, kind) for batch in batches.make(batches.read(windows), how.batch)]

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
