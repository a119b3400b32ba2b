"""Measures ONNX Runtime in one configuration, in this process alone.

    python bench/peers/ort.py --graphs DIR --windows FILE --target encoder \\
        --configuration JSON --seconds 10

In the loop: `session.run` on arrays made before, and nothing else. Prints tokens per second, padding
not counted, as JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import onnxruntime

import batches
import clock
import export
from configuration import Configuration


def session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """A session with all graph optimisations, on so many threads; 0 leaves everything as it is."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads:
        options.intra_op_num_threads = threads
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def runner(run: onnxruntime.InferenceSession) -> Callable[[batches.Batch], list]:
    """Answers a batch; takes of its arrays those that the graph knows."""
    names = [node.name for node in run.get_inputs()]
    return lambda batch: run.run(None, {name: batch.feed[name] for name in names})


def measure(graphs: Path, windows: Path, target: str, how: Configuration, seconds: float) -> float:
    """Tokens per second."""
    path = export.place(graphs, target, how.form, how.precision)
    sessions = [runner(session(path, how.layout.threads)) for _ in range(how.layout.sessions)]
    callers = [sessions[k % len(sessions)] for k in range(how.layout.callers)]
    work = batches.make(batches.read(windows), how.batch)
    return clock.rate(callers, work, lambda batch: batch.tokens, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--graphs", type=Path, required=True, help="folder that export.py wrote")
    add("--windows", type=Path, required=True)
    add("--target", choices=["encoder", "encoder_heads"], required=True)
    add("--configuration", type=Configuration.loads, required=True)
    add("--seconds", type=float, required=True)
    o = parser.parse_args()
    rate = measure(o.graphs, o.windows, o.target, o.configuration, o.seconds)
    print(json.dumps({"rate": rate}))


if __name__ == "__main__":
    main()
