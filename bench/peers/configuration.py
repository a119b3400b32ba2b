"""How a peer is run, and the search for the fastest way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from itertools import product

import machine

BATCHES = (1, 2, 4, 8)
# How many of the fastest are measured again before one is chosen.
FINALISTS = 6


@dataclass(frozen=True)
class Layout:
    """How work is spread over cores."""

    callers: int  # batches under way at once, each in a thread of its own
    sessions: int  # copies of the model that they share
    threads: int  # threads that each copy computes one batch with; 0: the library's own choice


@dataclass(frozen=True)
class Configuration:
    """One way to run a peer. `form` is a graph of `export.py`, or PyTorch's `eager` or `compiled`."""

    form: str
    precision: str
    layout: Layout
    batch: int

    def dumps(self) -> str:
        """As JSON, for the command line of another process."""
        return json.dumps(asdict(self))

    @staticmethod
    def loads(text: str) -> Configuration:
        """The inverse of `dumps`."""
        fields = json.loads(text)
        return Configuration(**{**fields, "layout": Layout(**fields["layout"])})


def layouts(sharing: bool) -> list[Layout]:
    """One session or one a core, each on one thread or on all; with `sharing` also one session that
    a caller a core works through."""
    cores = machine.cores()
    found = [Layout(n, n, t) for n, t in product((1, cores), (cores, 1))]
    if sharing:
        found.append(Layout(cores, 1, 1))
    return list(dict.fromkeys(found))


def onnx_default() -> Configuration:
    """ONNX Runtime as it is when nothing is set: one session, all cores, a window at a time."""
    return Configuration("plain", "f32", Layout(1, 1, 0), 1)


def onnx(precision: str) -> list[Configuration]:
    """All that is tried for ONNX Runtime. A graph without a mask is for windows alone."""
    return [
        Configuration(form, precision, layout, batch)
        for form, layout, batch in product(("plain", "fused", "maskless"), layouts(True), BATCHES)
        if form != "maskless" or batch == 1
    ]


def likely(candidates: list[Configuration]) -> list[Configuration]:
    """Those that win on every machine tried so far: a caller a core, small batches, nothing compiled."""
    return [
        how
        for how in candidates
        if how.layout == Layout(machine.cores(), how.layout.sessions, 1)
        and how.batch <= 2
        and how.form != "compiled"
    ]


def pytorch(precision: str, compiled: bool) -> list[Configuration]:
    """All that is tried for PyTorch, whose threads share one model."""
    cores = machine.cores()
    spread = dict.fromkeys((Layout(1, 1, cores), Layout(cores, 1, 1)))
    forms = ("eager", "compiled") if compiled else ("eager",)
    return [
        Configuration(form, precision, layout, batch)
        for form, layout, batch in product(forms, spread, BATCHES)
    ]


def search(
    candidates: Iterable[Configuration], measure: Callable[[Configuration], float]
) -> tuple[Configuration, list[dict]]:
    """The fastest, and what each was measured at. The first few are measured twice more, so that one
    lucky measurement chooses nothing."""
    rates = {candidate: [measure(candidate)] for candidate in candidates}
    finalists = sorted(rates, key=lambda c: -rates[c][0])[:FINALISTS]
    for candidate in finalists * 2:
        rates[candidate].append(measure(candidate))
    mean = {c: sum(found) / len(found) for c, found in rates.items()}
    best = max(finalists, key=mean.__getitem__)
    return best, [{**asdict(c), "rate": round(mean[c], 1)} for c in rates]
