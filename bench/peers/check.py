"""Whether the graphs answer as the network does, and what int8 costs.

    python bench/peers/check.py --graphs DIR --windows FILE

Prints JSON: for every f32 graph its largest difference from PyTorch, for every int8 graph its largest
difference and the share of answers that flip. Fails where f32 differs by more than 1e-4.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

import batches
import export
import ort
import pytorch
import reference

LIMIT = 1e-4
# Two windows a batch, so that padding and its mask are tried too; alone for a graph without a mask.
TOGETHER = 2
FORMS = ("plain", "fused", "maskless")


def expected(target: str, work: list[batches.Batch]) -> list[list[np.ndarray]]:
    """PyTorch's answers."""
    module = pytorch.MODULES[target](reference.load()).eval()
    answers = []
    with torch.inference_mode():
        for batch in work:
            found = module(**pytorch.piece(batch, target).feed)
            tensors = [found] if isinstance(found, torch.Tensor) else found
            answers.append([tensor.numpy() for tensor in tensors])
    return answers


def real(target: str, batch: batches.Batch, answer: list[np.ndarray]) -> list[np.ndarray]:
    """Without the states of padding, which mean nothing."""
    return [answer[0][batch.feed["mask"] == 1]] if target == "encoder" else answer


def compare(target: str, path: Path, work: list[batches.Batch], reference_: list) -> dict:
    """The largest difference of any output, and the share of rows whose best logit is another."""
    run = ort.runner(ort.session(path, 1))
    difference, flips, rows = 0.0, {}, {}
    for batch, right in zip(work, reference_):
        pairs = zip(real(target, batch, run(batch)), real(target, batch, right))
        for name, (got, want) in zip(export.OUTPUTS[target], pairs):
            if not want.size:
                continue
            difference = max(difference, float(np.abs(got - want).max()))
            flips[name] = flips.get(name, 0) + int((got.argmax(-1) != want.argmax(-1)).sum())
            rows[name] = rows.get(name, 0) + len(want)
    out = {"largest_difference": difference}
    if target == "encoder_heads":
        out["flipped"] = {name: round(flips[name] / rows[name], 5) for name in rows}
    return out


def check(folder: Path, windows: list[batches.Window]) -> dict:
    """Every graph over the windows."""
    torch.set_num_threads(1)
    out: dict = {"windows": len(windows)}
    for target in ("encoder", "encoder_heads"):
        sets = {size: batches.make(windows, size) for size in (1, TOGETHER)}
        right = {size: expected(target, work) for size, work in sets.items()}
        for form in FORMS:
            size = 1 if form == "maskless" else TOGETHER
            for precision in ("f32", "int8"):
                path = export.place(folder, target, form, precision)
                out[path.stem] = compare(target, path, sets[size], right[size])
                if precision == "f32" and out[path.stem]["largest_difference"] > LIMIT:
                    raise SystemExit(f"{path.name} does not answer as PyTorch: {out[path.stem]}")
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--graphs", type=Path, required=True, help="folder that export.py wrote")
    add("--windows", type=Path, required=True)
    add("--limit", type=int, default=200, help="windows to check")
    options = parser.parse_args()
    print(json.dumps(check(options.graphs, batches.read(options.windows)[: options.limit])))


if __name__ == "__main__":
    main()
