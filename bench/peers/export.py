"""Writes the ONNX graphs that ONNX Runtime is measured with.

    python bench/peers/export.py DIR

Of every graph there are up to three forms, since which is faster depends on the machine:

- `plain`, as torch.onnx writes it; ONNX Runtime's own optimiser fuses it when it loads;
- `fused`, by onnxruntime.transformers.optimizer (Attention, EmbedLayerNormalization,
  SkipLayerNormalization, BiasGelu);
- `maskless`, plain without an attention mask, for windows that run alone and so are not padded.

Each also in int8: dynamic quantisation, signed weights by channel.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from pathlib import Path

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers import optimizer
from torch import nn

import batches
import graphs
import machine
import reference

# Which of an input's axes differ from batch to batch.
AXES = {
    "ids": {0: "sequences", 1: "tokens"},
    "cases": {0: "sequences", 1: "tokens"},
    "pool": {0: "sequences", 1: "pieces", 2: "tokens"},
    "owner": {0: "sentences", 1: "slots"},
    "places": {0: "sentences"},
    "words": {0: "words"},
    "mask": {0: "sequences", 1: "tokens"},
}
ENCODER = ("ids", "cases", "mask")
HEADS = ("ids", "cases", "pool", "owner", "places", "words", "mask")
OUTPUTS = {
    "encoder": ("states",),
    "encoder_heads": ("types", "party", "speaker"),
    "sentence": ("types",),
    "pair": ("sentiment",),
}


def example() -> dict[str, torch.Tensor]:
    """Two windows of unlike length, of two sentences each, to trace the graphs with."""
    windows = [
        batches.Window(
            [list(range(1000, 1000 + width))],
            [[1] * width],
            [
                batches.Sentence([(0, 1, 5)], [0, 2], [0, 1]),
                batches.Sentence([(0, 6, width - 1)], [0], [1, 0]),
            ],
        )
        for width in (12, 16)
    ]
    feed = batches.batch(windows).feed
    return {name: torch.from_numpy(array) for name, array in feed.items()}


def trace(module: nn.Module, inputs: tuple[str, ...], outputs: tuple[str, ...], path: Path) -> None:
    """Writes one graph. The tracing exporter, since the fusions know its graphs and not those of the
    newer one."""
    feed = example()
    axes = {name: AXES[name] for name in inputs} | {name: {0: f"{name}_rows"} for name in outputs}
    if outputs == ("states",):
        axes["states"] = {0: "sequences", 1: "tokens"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            tuple(feed[name] for name in inputs),
            str(path),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,
        )


def fuse(plain: Path, fused: Path, config) -> None:
    """The fusions of onnxruntime's BERT optimiser."""
    model = optimizer.optimize_model(
        str(plain),
        "bert",
        num_heads=config.num_attention_heads,
        hidden_size=config.hidden_size,
        opt_level=0,
    )
    missing = {"Attention", "EmbedLayerNormalization", "SkipLayerNormalization", "BiasGelu"} - {
        node.op_type for node in model.model.graph.node
    }
    if missing:
        raise SystemExit(f"{plain.name}: not fused: {', '.join(sorted(missing))}")
    model.save_model_to_file(str(fused))


def quantise(path: Path) -> None:
    """Writes the int8 form beside the f32 one. Without VNNI, sums of products can overflow unless the
    weights keep to 7 bits."""
    quantize_dynamic(
        path,
        path.with_suffix(".int8.onnx"),
        per_channel=True,
        reduce_range=not machine.has_vnni(),
        weight_type=QuantType.QInt8,
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )


def place(folder: Path, graph: str, form: str, precision: str = "f32") -> Path:
    """Where a graph lies."""
    return folder / f"{graph}.{form}{'.int8' if precision == 'int8' else ''}.onnx"


def write(folder: Path) -> None:
    """Writes all graphs."""
    folder.mkdir(parents=True, exist_ok=True)
    model = reference.load()
    # The fusions know this attention; which one was traced does not matter to the answers.
    model.encoder.set_attn_implementation("eager")
    modules = {
        "encoder": (graphs.Encoder(model), ENCODER),
        "encoder_heads": (graphs.EncoderHeads(model), HEADS),
        "sentence": (graphs.SentenceType(model), ENCODER),
        "pair": (graphs.PairSentiment(model), ENCODER),
    }
    for name, (module, inputs) in modules.items():
        forms = [place(folder, name, form) for form in ("plain", "fused")]
        trace(module, inputs, OUTPUTS[name], forms[0])
        fuse(*forms, model.encoder.config)
        if name in ("sentence", "pair"):
            continue
        forms.append(place(folder, name, "maskless"))
        trace(module, inputs[:-1], OUTPUTS[name], forms[-1])
        for path in forms:
            quantise(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    logging.disable(logging.WARNING)
    write(parser.parse_args().folder)


if __name__ == "__main__":
    main()
