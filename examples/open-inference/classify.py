"""Asks copydesk by the Open Inference Protocol, with Triton's client: python classify.py FILE …

One request carries all files; its answer comes as tensors, whose rows are told apart by row splits.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import tritonclient.grpc as triton

TYPES = ["quote", "background", "reaction", "boilerplate", "report"]


def tensor(name: str, elements: list[str]) -> triton.InferInput:
    """A BYTES tensor of one element an article."""
    given = triton.InferInput(name, [len(elements)], "BYTES")
    given.set_data_from_numpy(np.array([e.encode() for e in elements], dtype=np.object_))
    return given


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="articles, plain text or one JSON object")
    parser.add_argument("--server", default="127.0.0.1:50051", help="host:port")
    parser.add_argument("--model", default="news-en", help="the model's name")
    parser.add_argument("--parties", help='JSON, as [{"id": "cn", "name": "China"}]; found if left out')
    arguments = parser.parse_args()

    texts = [file.read_text(encoding="utf-8") for file in arguments.files]
    inputs = [tensor("text", texts)]
    if arguments.parties is not None:
        json.loads(arguments.parties)
        inputs.append(tensor("parties", [arguments.parties] * len(texts)))
    names = ["sentence_splits", "sentences", "type_scores", "pair_sentences", "pair_names", "sentiments"]
    outputs = [triton.InferRequestedOutput(name) for name in names]
    with triton.InferenceServerClient(arguments.server) as client:
        answer = client.infer(arguments.model, inputs, outputs=outputs, client_timeout=60)

    splits, sentences, scores, rows, parties, sentiments = (answer.as_numpy(name) for name in names)
    for file, first, end in zip(arguments.files, splits, splits[1:]):
        print(f"{file}\n")
        for row in range(first, end):
            kind = TYPES[scores[row].argmax()]
            print(f"{row - first + 1:3}  {kind:12} {sentences[row].decode()}")
            here = [
                f"{parties[pair].decode()} {sentiments[pair].decode()}"
                for pair in np.flatnonzero(rows == row)
            ]
            if here:
                print(f"     parties: {', '.join(here)}")
        print()


if __name__ == "__main__":
    main()
