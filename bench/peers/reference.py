"""The committed model in PyTorch: the network of `training/network.py` with the weights of a model
directory, f16 widened to f32."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "training"))

from network import Copydesk  # found through the path above

MODEL = ROOT / "models" / "news-en"


def load(directory: Path = MODEL) -> Copydesk:
    """The network, ready to answer; refuses weights that do not fit it."""
    model = Copydesk.from_config(json.loads((directory / "config.json").read_text()))
    weights = load_file(str(directory / "model.safetensors"))
    model.load_state_dict({parameter(name): value.float() for name, value in weights.items()})
    return model.eval()


def parameter(name: str) -> str:
    """A name in `model.safetensors` → the parameter's name in the network."""
    head = name.removeprefix("heads.")
    return head if head != name else f"encoder.{name}"
