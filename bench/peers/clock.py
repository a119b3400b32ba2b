"""The measured loop, the same for every peer in Python."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

Work = TypeVar("Work")


def rate(
    callers: Sequence[Callable[[Work], object]],
    work: Sequence[Work],
    size: Callable[[Work], float],
    seconds: float,
) -> float:
    """Work done in a second by callers that each go round all of it, from starting points spread
    evenly over it. A quarter of the time, before the clock starts, is warm-up."""
    orders = [turned(work, k * len(work) // len(callers)) for k in range(len(callers))]
    start = threading.Barrier(len(callers))
    rates = [0.0] * len(callers)
    failures: list[BaseException] = []

    def run(k: int) -> None:
        try:
            once(callers[k], orders[k], size, seconds / 4)
            start.wait()
            rates[k] = once(callers[k], orders[k], size, seconds)
        except BaseException as failure:
            failures.append(failure)
            start.abort()

    threads = [threading.Thread(target=run, args=(k,)) for k in range(len(callers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return sum(rates)


def once(
    call: Callable[[Work], object],
    order: Sequence[Work],
    size: Callable[[Work], float],
    seconds: float,
) -> float:
    """One caller's rate, from the start to the end of its last piece of work."""
    done, position = 0.0, 0
    begin = now = time.perf_counter()
    while now - begin < seconds:
        piece = order[position % len(order)]
        call(piece)
        done += size(piece)
        position += 1
        now = time.perf_counter()
    return done / (now - begin)


def turned(work: Sequence[Work], by: int) -> list[Work]:
    """The same pieces of work from another starting point."""
    return [*work[by:], *work[:by]]

