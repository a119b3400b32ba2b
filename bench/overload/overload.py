"""One `copydesk serve` at twice what it can do, for a while.

First its peak: closed loop, as many callers as keep it busy. Then an open loop: articles arrive at
`--factor` times the peak, evenly, whatever comes back, each with a deadline. Refused callers come
back when the server says (gRPC's own retries, by examples/service_config.json), and give up at
their deadline. Writes goodput against peak, the latency of what was answered and of the attempts
that were let in, and the server's memory, as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from common import ROOT, TINY, Server, free_ports, write

import grpc
from copydesk.v1 import classifier_pb2, classifier_pb2_grpc
from copydesk.v1.article_pb2 import Article

CONFIG = (ROOT / "examples" / "service_config.json").read_text()
CHANNELS = 4


def percentiles(values: list[float]) -> dict[str, float]:
    values = sorted(values)
    if not values:
        return {}
    at = lambda share: round(values[min(int(share * len(values)), len(values) - 1)] * 1e3, 1)
    return {"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": round(values[-1] * 1e3, 1)}


class Load:
    """Calls to one server, and what became of them."""

    def __init__(self, url: str, texts: list[str], deadline: float, retries: bool) -> None:
        options: list[tuple[str, Any]] = [("grpc.use_local_subchannel_pool", 1)]
        options.append(("grpc.service_config", CONFIG) if retries else ("grpc.enable_retries", 0))
        target = url.removeprefix("http://")
        self._channels = [grpc.aio.insecure_channel(target, options) for _ in range(CHANNELS)]
        self._stubs = [classifier_pb2_grpc.ClassifierServiceStub(c) for c in self._channels]
        self._texts, self._deadline, self._next = texts, deadline, 0
        self.latencies: list[float] = []
        self.let_in: list[float] = []
        self.codes: collections.Counter[str] = collections.Counter()
        self.done: list[float] = []

    async def call(self) -> None:
        number, self._next = self._next, self._next + 1
        article = Article(id=f"a{number}", text=self._texts[number % len(self._texts)])
        request = classifier_pb2.ClassifyArticleRequest(article=article)
        stub = self._stubs[number % CHANNELS]
        start, first, whole = time.monotonic(), None, False
        try:
            call = stub.ClassifyArticle(request, timeout=self._deadline)
            async for message in call:
                first = first or time.monotonic()
                whole = message.HasField("summary")
            code = "OK" if whole else "BROKEN"
        except grpc.aio.AioRpcError as error:
            code = error.code().name
        end = time.monotonic()
        self.codes[code] += 1
        if code == "OK":
            self.latencies.append(end - start)
            self.done.append(end)
            # From the first sentence on: what an attempt that was let in still took.
            self.let_in.append(end - (first or start))

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()


async def peak(url: str, texts: list[str], seconds: float, callers: int) -> float:
    """Articles a second in a closed loop; the first quarter is not counted."""
    load = Load(url, texts, deadline=120, retries=True)
    end = time.monotonic() + seconds

    async def caller() -> None:
        while time.monotonic() < end:
            await load.call()

    await asyncio.gather(*(caller() for _ in range(callers)))
    await load.close()
    if set(load.codes) != {"OK"}:
        sys.exit(f"the peak cannot be measured: {dict(load.codes)}")
    counted = [t for t in load.done if end - seconds * 0.75 <= t <= end]
    if not counted:
        sys.exit("the peak cannot be measured: nothing was answered; give --peak-seconds more")
    return len(counted) / (seconds * 0.75)


async def overload(
    server: Server, texts: list[str], rate: float, seconds: float, deadline: float
) -> dict[str, Any]:
    load = Load(server.url, texts, deadline, retries=True)
    memory = [server.rss_kib()]
    tasks: set[asyncio.Task[None]] = set()
    start = time.monotonic()
    sent, last_look = 0, start
    while (now := time.monotonic()) < start + seconds:
        while sent < (now - start) * rate:
            task = asyncio.create_task(load.call())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            sent += 1
        if now - last_look > 1:
            memory.append(server.rss_kib())
            last_look = now
        await asyncio.sleep(min(0.02, 1 / rate))
    end = time.monotonic()
    within = [t for t in load.done if t <= end]
    memory.append(server.rss_kib())
    await asyncio.gather(*tasks)
    await load.close()
    # The first deadline's worth of time fills the queue; what follows is the steady state.
    steady = [t for t in within if t > start + deadline]
    return {
        "seconds": round(end - start, 1),
        "offered_per_second": round(sent / (end - start), 1),
        "answered_per_second": round(len(within) / (end - start), 1),
        "steady_per_second": round(len(steady) / max(end - start - deadline, 1e-9), 1),
        "codes": dict(load.codes),
        "latency_ms": percentiles(load.latencies),
        "first_sentence_to_summary_ms": percentiles(load.let_in),
        "memory_kib": {"first": memory[0], "last": memory[-1], "most": max(memory)},
    }


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    lines = (ROOT / "examples" / "articles" / "articles.jsonl").read_text().splitlines()
    texts = [article["text"] for article in map(json.loads, lines) if "text" in article]
    model = str(TINY) if arguments.tiny else arguments.model
    flags = ["--max-queue-tokens", str(arguments.max_queue_tokens)]
    server = Server(free_ports(1)[0], *flags, model=model)
    try:
        top = await peak(server.url, texts, arguments.peak_seconds, arguments.callers)
        rate = top * arguments.factor
        found = await overload(server, texts, rate, arguments.seconds, arguments.deadline)
        # It recovers: the same closed loop again.
        after = await peak(server.url, texts, arguments.peak_seconds, arguments.callers)
        still = server.process.poll() is None
    finally:
        server.end()
    return {
        "what": "open loop above capacity; articles of examples/articles/articles.jsonl",
        "model": "tests/fixtures/tiny" if arguments.tiny else arguments.model or "built in",
        "settings": {
            "factor": arguments.factor,
            "deadline_seconds": arguments.deadline,
            "max_queue_tokens": arguments.max_queue_tokens,
        },
        "peak_per_second": round(top, 1),
        "overload": found,
        "goodput_of_peak": round(found["steady_per_second"] / top, 3),
        "peak_afterwards_per_second": round(after, 1),
        "server_lives": still,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--peak-seconds", type=float, default=20)
    parser.add_argument("--factor", type=float, default=2.0)
    parser.add_argument("--deadline", type=float, default=10.0)
    parser.add_argument("--callers", type=int, default=8, help="in the closed loop")
    parser.add_argument("--max-queue-tokens", type=int, default=65_536)
    parser.add_argument("--model", help="left out: the model inside the binary")
    parser.add_argument("--tiny", action="store_true", help="the tiny model of the tests")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "overload.json")
    arguments = parser.parse_args()
    result = asyncio.run(measure(arguments))
    write(arguments.out, result)
    return 0 if result["server_lives"] else 1


if __name__ == "__main__":
    sys.exit(main())
