"""Compares copydesk with what one would otherwise run, and writes figures and a table.

    python bench/peers/compare.py --articles FILE.jsonl --copydesk target/release/copydesk

Every measurement is a process of its own. First each peer's configurations are searched, or taken from
an earlier run (`--earlier`); then, in each round, copydesk and every peer are measured in turn. Medians
over the rounds count.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median

import configuration
import machine
from configuration import Configuration
from reference import ROOT

HERE = Path(__file__).resolve().parent
TARGETS = ("encoder", "encoder_heads")
FIELDS = ("id", "headline", "text")
# copydesk by precision of its products, and the device that computes so: what `--device cpu` chooses on
# this processor, and f32.
OURS = {"copydesk f32": "cpu-f32"}
if machine.has_bf16():
    OURS = {"copydesk bf16": "cpu-bf16"} | OURS
elif machine.has_int16():
    OURS = {"copydesk int16": "cpu-int16"} | OURS
# The search measures each configuration for this part of a round's measurement.
SEARCH = 1 / 4
# The whole job takes so many times as long: callers end one after the other, and the last have the
# machine to themselves.
WHOLE_JOB = 4

# What one measurement finds: figures by name.
Figures = dict[str, float]
# What an earlier run found, by contender.
Earlier = dict[str, dict]


@dataclass(frozen=True)
class Inputs:
    """Where everything lies."""

    copydesk: Path
    articles: Path
    windows: Path
    parties: Path
    graphs: Path
    # Tokens of the mean article, in all of its windows.
    article_tokens: float


@dataclass
class Contender:
    """copydesk, or a peer: how to measure it, and what was found."""

    name: str
    run: Callable[[], Figures]
    configuration: dict = field(default_factory=dict)
    searched: list[dict] = field(default_factory=list)
    rounds: list[Figures] = field(default_factory=list)

    def medians(self) -> Figures:
        """The median of every figure over the rounds."""
        return {name: median(found[name] for found in self.rounds) for name in self.rounds[0]}


def output(command: list) -> str:
    """What a command prints; its errors go to ours, and end this run."""
    words = [str(word) for word in command]
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout


def program(name: str, **arguments) -> float:
    """The rate that one of the programs beside this one prints."""
    command = [sys.executable, "-W", "ignore", HERE / name]
    for key, value in arguments.items():
        command += [f"--{key}", value]
    return json.loads(output(command).splitlines()[-1])["rate"]


def prepare(options: argparse.Namespace) -> Inputs:
    """Articles, windows, parties, graphs."""
    options.work.mkdir(parents=True, exist_ok=True)
    copydesk = options.copydesk.resolve()
    names = ("articles.jsonl", "windows.jsonl", "parties.jsonl", "graphs")
    files = [options.work / name for name in names]
    articles = [json.dumps(row, ensure_ascii=False) for row in read_articles(options)]
    files[0].write_text("\n".join(articles) + "\n", encoding="utf-8")
    lines = output([copydesk, "bench", "windows", "--articles", files[0]]).splitlines(keepends=True)
    windows = [json.loads(line)["sequences"] for line in lines]
    tokens = sum(len(sequence["ids"]) for window in windows for sequence in window)
    inputs = Inputs(copydesk, *files, tokens / len(articles))
    # A sentence longer than a window comes as several sequences, which no peer takes as they are.
    whole = [line for line, sequences in zip(lines, windows) if len(sequences) == 1]
    inputs.windows.write_text("".join(whole), encoding="utf-8")
    answers = output([inputs.copydesk, "classify", "--format", "jsonl", inputs.articles])
    inputs.parties.write_text(answers, encoding="utf-8")
    output([sys.executable, "-W", "ignore", HERE / "export.py", inputs.graphs])
    return inputs


def read_articles(options: argparse.Namespace) -> list[dict]:
    """The first articles that have a text, with the fields that copydesk knows."""
    unpack = gzip.open if options.articles.suffix == ".gz" else open
    found: list[dict] = []
    with unpack(options.articles, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row.get("text", "").strip():
                found.append({key: row[key] for key in FIELDS if row.get(key)})
            if len(found) == options.limit:
                break
    return found


def describe(inputs: Inputs) -> dict:
    """What there is to read."""
    windows = [json.loads(line) for line in inputs.windows.read_text(encoding="utf-8").splitlines()]
    return {
        "articles": len(inputs.articles.read_text(encoding="utf-8").splitlines()),
        "windows": len(windows),
        "sentences": sum(len(w["sentences"]) for w in windows),
        "tokens": sum(len(s["ids"]) for w in windows for s in w["sequences"]),
    }


def ours(inputs: Inputs, device: str, seconds: float) -> Figures:
    """copydesk's own measurement of its encoder, or of candle's."""
    command = [inputs.copydesk, "bench", "encode", "--windows", inputs.windows]
    command += ["--seconds", f"{seconds:g}", "--json", "--device", device]
    found = json.loads(output(command))
    return {target: found[target]["tokens_per_second"] for target in TARGETS}


def ours_articles(inputs: Inputs, device: str, seconds: float) -> Figures:
    """copydesk's own measurement of the whole job: mean articles a second, by tokens, so that it does not
    matter whether the time ends among long articles or short ones."""
    command = [inputs.copydesk, "bench", "articles", "--articles", inputs.articles]
    command += ["--device", device]
    found = json.loads(output([*command, "--seconds", f"{seconds:g}", "--json"]))
    return {"articles": found["tokens_per_second"] / inputs.article_tokens}


def onnx(inputs: Inputs, how: Configuration, target: str, seconds: float) -> float:
    """ONNX Runtime's tokens per second."""
    return program(
        "ort.py", graphs=inputs.graphs, windows=inputs.windows, target=target,
        configuration=how.dumps(), seconds=seconds,
    )


def pytorch(inputs: Inputs, how: Configuration, target: str, seconds: float) -> float:
    """PyTorch's tokens per second."""
    return program(
        "pytorch.py", windows=inputs.windows, target=target,
        configuration=how.dumps(), seconds=seconds,
    )


def assembly(inputs: Inputs, how: dict, seconds: float) -> float:
    """The assembly's articles per second."""
    return program(
        "assembly.py", graphs=inputs.graphs, articles=inputs.articles, parties=inputs.parties,
        seconds=seconds, **how,
    )


def encoder_peer(
    name: str,
    candidates: list[Configuration],
    measure: Callable[[Configuration, str, float], float],
    seconds: float,
    earlier: Earlier,
) -> Contender:
    """A peer of the encoder, in its fastest configuration; the heads are so little of the work that
    the encoder alone chooses it."""
    if name in earlier:
        best = Configuration.loads(json.dumps(earlier[name]["configuration"]))
        searched = earlier[name]["searched"]
    elif len(candidates) == 1:
        best, searched = candidates[0], []
    else:
        progress(f"{name}: {len(candidates)} configurations")
        trial = lambda how: measure(how, "encoder", seconds * SEARCH)
        best, searched = configuration.search(candidates, trial)
    run = lambda: {target: measure(best, target, seconds) for target in TARGETS}
    return Contender(name, run, asdict(best), searched)


def assembly_peer(inputs: Inputs, seconds: float, earlier: Earlier) -> Contender:
    """The assembly: one process on all cores, or one a core."""
    contender = lambda best, searched: Contender(
        "assembly", lambda: {"articles": assembly(inputs, best, seconds * WHOLE_JOB)}, best, searched
    )
    if found := earlier.get("assembly"):
        return contender(found["configuration"], found["searched"])
    cores = machine.cores()
    spread = dict.fromkeys(((1, cores), (cores, 1)))
    candidates = [
        {"form": form, "processes": processes, "threads": threads}
        for form, (processes, threads) in product(("plain", "fused"), spread)
    ]
    progress(f"assembly: {len(candidates)} configurations")
    searched = [
        {**how, "rate": round(assembly(inputs, how, seconds * SEARCH * 2), 3)} for how in candidates
    ]
    fastest = max(range(len(searched)), key=lambda i: searched[i]["rate"])
    return contender(candidates[fastest], searched)


def contenders(inputs: Inputs, seconds: float, quick: bool, earlier: Earlier) -> list[Contender]:
    """copydesk in each precision, then the peers, each in its best configuration."""
    tried = configuration.likely if quick else list
    by_onnx, by_torch = partial(onnx, inputs), partial(pytorch, inputs)
    compiler = any(map(shutil.which, ("g++", "clang++")))
    copydesk = lambda device: (
        lambda: ours(inputs, device, seconds) | ours_articles(inputs, device, seconds * WHOLE_JOB)
    )
    peer = lambda name, candidates, measure: encoder_peer(
        name, candidates, measure, seconds, earlier
    )
    f32 = configuration.onnx("f32")
    found = [
        *(Contender(name, copydesk(device)) for name, device in OURS.items()),
        Contender("candle f32", lambda: ours(inputs, "cpu-candle", seconds)),
        peer("onnxruntime f32, defaults", [configuration.onnx_default()], by_onnx),
        peer("onnxruntime f32", tried(f32), by_onnx),
        peer("onnxruntime int8", tried(configuration.onnx("int8")), by_onnx),
        peer("pytorch f32", tried(configuration.pytorch("f32", compiler)), by_torch),
    ]
    if machine.has_bf16():
        bf16 = configuration.pytorch("bf16", compiler)
        found.append(peer("pytorch bf16", tried(bf16), by_torch))
    return [*found, assembly_peer(inputs, seconds, earlier)]


def report(runners: list[Contender]) -> dict:
    """Medians, every round, and how many times copydesk is as fast, in each precision."""
    medians = {runner.name: runner.medians() for runner in runners}
    out = {}
    for runner in runners:
        own = medians[runner.name]
        out[runner.name] = {
            "median": {name: round(value, 3) for name, value in own.items()},
            "times": {
                ours: {name: round(medians[ours][name] / own[name], 3) for name in own}
                for ours in OURS
            },
            "rounds": runner.rounds,
            "configuration": runner.configuration,
            "searched": runner.searched,
        }
    return out


def table(results: dict) -> str:
    """The figures in Markdown; in brackets, how many times as fast each of `OURS` is."""
    columns = (*TARGETS, "articles")
    heads = ("encoder, tokens/s", "encoder and heads, tokens/s", "whole job, articles/s")
    lines = ["| | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(columns)]
    for name, found in results.items():
        cells = []
        for column in columns:
            value = found["median"].get(column)
            if value is None:
                cells.append("")
                continue
            times = " / ".join(f"{found['times'][ours][column]:.2f}" for ours in OURS)
            digits = 2 if column == "articles" else 0
            cells.append(f"{value:,.{digits}f} ({times})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def progress(text: str) -> None:
    """One line on stderr."""
    print(text, file=sys.stderr, flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--articles", type=Path, required=True, help="JSON Lines of id, headline, text; also .gz")
    add("--copydesk", type=Path, required=True, help="the binary, a release build")
    add("--limit", type=int, default=150, help="articles to read")
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=12, help="of each measurement")
    add("--quick", action="store_true", help="search only the likely configurations")
    add("--earlier", type=Path, metavar="FILE",
        help="what an earlier run wrote on a machine of this kind: takes its configurations")
    add("--work", type=Path, default=ROOT / "work" / "peers", help="graphs and windows, 1 GB")
    add("--out", type=Path, default=ROOT / "bench" / "results" / "peers.json")
    return parser.parse_args()


def main() -> None:
    options = parse()
    described = machine.describe()
    progress("articles, windows, graphs")
    inputs = prepare(options)
    progress("do the graphs answer as the network does?")
    check = [sys.executable, "-W", "ignore", HERE / "check.py"]
    checked = json.loads(output([*check, "--graphs", inputs.graphs, "--windows", inputs.windows]))
    earlier = json.loads(options.earlier.read_text()) if options.earlier else {}
    quick = earlier.get("quick", options.quick)
    runners = contenders(inputs, options.seconds, quick, earlier.get("results", {}))
    for number in range(options.rounds):
        for runner in runners:
            progress(f"round {number + 1} of {options.rounds}: {runner.name}")
            runner.rounds.append(runner.run())
    results = {
        "machine": described,
        "copydesk": output([inputs.copydesk, "--version"]).strip(),
        "workload": describe(inputs),
        "seconds": options.seconds,
        "rounds": options.rounds,
        "quick": quick,
        "differences": checked,
        "results": report(runners),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=2) + "\n")
    print(table(results["results"]))


if __name__ == "__main__":
    main()
