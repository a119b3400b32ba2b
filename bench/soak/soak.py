"""One `copydesk serve` among good and hostile clients, bounded in time and count.

Good callers ask for articles, corpora, the model and health; each call must be answered whole or
refused by the contract. Meanwhile hostile clients do what none should (hostile.py), and each must come
to one of the ends that it may come to. Afterwards the server must hold nothing any more: its gauges at
zero, its memory, handles and threads where they were once warm, and its answers the same as at first.
Writes what was sent, answered, refused and lost as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import random
import secrets
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from common import ROOT, TINY, Server, free_ports, write

import grpc
from copydesk.v1 import article_pb2, classifier_pb2, classifier_pb2_grpc
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from hostile import ATTACKS, Attack, Target

# What must be zero once everybody has left.
GAUGES = ["queue_tokens", "queue_oldest_seconds", "requests_running", "connections"]
# Of a kind of surprise, so many examples are told.
EXAMPLES = 5
BUSY = {"UNAVAILABLE/QUEUE_FULL"}


class Ledger:
    """What was done, and what it came to."""

    def __init__(self, most: int) -> None:
        self.most, self.sent = most, 0
        self.kinds: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        self.lost: list[str] = []
        self.surprises: list[str] = []

    def note(self, kind: str, outcome: str) -> None:
        self.kinds[kind][outcome] += 1

    def full(self) -> bool:
        return self.sent >= self.most


def reason(error: grpc.aio.AioRpcError) -> str:
    """The code and, where the server gave one, the reason of the contract."""
    name = error.code().name
    status = rpc_status.from_call(error)
    for detail in status.details if status else []:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return f"{name}/{info.reason}"
    return name


class Good:
    """Calls as they should be, each with the outcomes that it may have."""

    def __init__(self, target: Target, ledger: Ledger, deadline: float) -> None:
        self._target, self._ledger, self._deadline = target, ledger, deadline
        options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
        options.append(("grpc.max_send_message_length", -1))
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{target.port}", options)
        self._stub = classifier_pb2_grpc.ClassifierServiceStub(self._channel)
        self._health = health_pb2_grpc.HealthStub(self._channel)
        self._metadata = (("authorization", f"Bearer {target.token}"),)

    async def close(self) -> None:
        await self._channel.close()

    async def _article(self, text: str) -> str:
        """`OK` only if every sentence came, in order, and then the summary."""
        request = classifier_pb2.ClassifyArticleRequest()
        request.article.CopyFrom(article_pb2.Article(id="good", text=text))
        sentences, whole, end = 0, False, 0
        call = self._stub.ClassifyArticle(
            request, timeout=self._deadline, metadata=self._metadata
        )
        async for message in call:
            if message.HasField("summary"):
                whole = True
                continue
            sentence = message.sentence
            place = slice(sentence.span.code_point_start, sentence.span.code_point_end)
            if whole or sentence.index != sentences or text[place] != sentence.text:
                return "WRONG"
            if text[end : place.start].strip():
                return "WRONG"
            sentences, end = sentences + 1, place.stop
        return "OK" if whole and not text[end:].strip() else "BROKEN"

    async def article(self) -> str:
        return await self._article(self._target.text())

    async def tiny(self) -> str:
        return await self._article(random.choice(["a", "Yes.", "🦊", "It met. It left."]))

    async def long(self) -> str:
        return await self._article("\n\n".join(self._target.text() for _ in range(8)))

    async def empty(self) -> str:
        return await self._article(random.choice(["", " \n", "\0"]))

    async def too_long(self) -> str:
        return await self._article("It met. " * (1 << 17) + "x")

    async def far_too_long(self) -> str:
        return await self._article("It met. " * (9 << 17))

    async def corpus(self) -> str:
        texts = [self._target.text(), " ", self._target.text()]
        call = self._stub.ClassifyArticles(timeout=self._deadline, metadata=self._metadata)
        seen = []
        for number, text in enumerate(texts):
            # Each once the one before is answered: of a refusal amid a write grpcio tells as its own
            # "Internal error from Core".
            article = article_pb2.Article(id=f"c{number}", text=text)
            await call.write(classifier_pb2.ClassifyArticlesRequest(article=article))
            while (message := await call.read()) is not grpc.aio.EOF:
                if message.HasField("summary") or message.HasField("error"):
                    seen.append((message.article_id, message.HasField("error")))
                    break
        await call.done_writing()
        if await call.read() is not grpc.aio.EOF:
            return "WRONG"
        return "OK" if seen == [("c0", False), ("c1", True), ("c2", False)] else "BROKEN"

    async def model(self) -> str:
        request = classifier_pb2.GetModelRequest()
        await self._stub.GetModel(request, timeout=self._deadline, metadata=self._metadata)
        return "OK"

    async def health(self) -> str:
        request = health_pb2.HealthCheckRequest(service="copydesk.v1.ClassifierService")
        answer = await self._health.Check(request, timeout=self._deadline)
        return "OK" if answer.status == health_pb2.HealthCheckResponse.SERVING else "NOT SERVING"

    async def one(self) -> None:
        kinds: list[tuple[str, int, set[str]]] = [
            ("article", 40, {"OK"} | BUSY),
            ("tiny", 20, {"OK"} | BUSY),
            ("long", 2, {"OK"} | BUSY),
            ("empty", 5, {"INVALID_ARGUMENT/EMPTY_TEXT"} | BUSY),
            ("too_long", 1, {"INVALID_ARGUMENT/TEXT_TOO_LONG"} | BUSY),
            ("far_too_long", 1, {"OUT_OF_RANGE"}),
            ("corpus", 5, {"OK"} | BUSY),
            ("model", 5, {"OK"}),
            ("health", 5, {"OK"}),
        ]
        (kind, _, allowed) = random.choices(kinds, [weight for _, weight, _ in kinds])[0]
        self._ledger.sent += 1
        try:
            outcome = await getattr(self, kind)()
        except grpc.aio.AioRpcError as error:
            outcome = reason(error)
            said = error.details()
        else:
            said = ""
        self._ledger.note(f"good/{kind}", outcome)
        if outcome not in allowed:
            self._ledger.lost.append(f"{kind}: {outcome} {said}".strip())


async def attack(target: Target, ledger: Ledger, what: Attack) -> None:
    ledger.sent += 1
    try:
        outcome = await what.run(target)
    except ConnectionError:
        outcome = "CLOSED"
    except TimeoutError:
        outcome = "SILENT"
    ledger.note(f"hostile/{what.name}", outcome)
    if outcome not in what.allowed:
        ledger.surprises.append(f"{what.name}: {outcome}")


class Watch:
    """The server from outside: memory, handles, threads, gauges."""

    def __init__(self, server: Server, metrics: int) -> None:
        self._server, self._url = server, f"http://127.0.0.1:{metrics}/metrics"
        self.samples: list[dict[str, int]] = []

    def look(self) -> dict[str, int]:
        process = Path(f"/proc/{self._server.process.pid}")
        status = dict(
            line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line
        )
        sample = {
            "memory_kib": self._server.rss_kib(),
            "handles": sum(1 for _ in (process / "fd").iterdir()),
            "threads": int(status["Threads"]),
        }
        self.samples.append(sample)
        return sample

    async def gauges(self) -> dict[str, float]:
        text = await asyncio.to_thread(
            lambda: urllib.request.urlopen(self._url, timeout=10).read().decode()
        )
        found: collections.Counter[str] = collections.Counter()
        for line in text.splitlines():
            name = line.split("{")[0].split(" ")[0].removeprefix("copydesk_")
            if name in GAUGES:
                found[name] += float(line.rsplit(" ", 1)[1])
        return {name: found[name] for name in GAUGES}

    async def at_rest(self, seconds: float) -> dict[str, float]:
        """The gauges once they are zero, or when they should be."""
        end = time.monotonic() + seconds
        while any((now := await self.gauges()).values()) and time.monotonic() < end:
            await asyncio.sleep(0.2)
        return now


async def known_answer(target: Target) -> list[bytes]:
    """What the server says of one article, timings left out."""
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{target.port}")
    stub = classifier_pb2_grpc.ClassifierServiceStub(channel)
    request = classifier_pb2.ClassifyArticleRequest()
    request.article.CopyFrom(article_pb2.Article(id="known", text=target.texts[0]))
    metadata = (("authorization", f"Bearer {target.token}"),)
    messages = []
    async for message in stub.ClassifyArticle(request, metadata=metadata, timeout=120):
        message.summary.ClearField("timings") if message.HasField("summary") else None
        messages.append(message.SerializeToString(deterministic=True))
    await channel.close()
    return messages


async def loop(ledger: Ledger, end: float, pause: float, act: Any) -> None:
    while time.monotonic() < end and not ledger.full():
        await act()
        await asyncio.sleep(random.uniform(0, 2 * pause))


async def traffic(
    target: Target, ledger: Ledger, watch: Watch, seconds: float, arguments: argparse.Namespace
) -> None:
    """Good and hostile clients side by side. Every attack is made before one is made again."""
    end = time.monotonic() + seconds
    turn: list[Attack] = []

    async def hostile() -> None:
        if not turn:
            turn.extend(random.sample(ATTACKS, len(ATTACKS)))
        await attack(target, ledger, turn.pop())

    async def look() -> None:
        watch.look()

    callers = [Good(target, ledger, arguments.deadline) for _ in range(arguments.callers)]
    await asyncio.gather(
        *(loop(ledger, end, 0.2, caller.one) for caller in callers),
        *(loop(ledger, end, 0.1, hostile) for _ in range(arguments.attackers)),
        loop(ledger, end, 1, look),
    )
    for caller in callers:
        await caller.close()


def share(samples: list[dict[str, int]], key: str) -> dict[str, int]:
    """Once warm, at the end at rest, and the most in between."""
    values = [sample[key] for sample in samples]
    return {"first": values[0], "last": values[-1], "most": max(values)}


async def measure(arguments: argparse.Namespace, tokens: Path) -> dict[str, Any]:
    token = secrets.token_hex(16)
    tokens.write_text(token + "\n")
    lines = (ROOT / "examples" / "articles" / "articles.jsonl").read_text().splitlines()
    texts = [article["text"] for article in map(json.loads, lines) if "text" in article]
    port, metrics = free_ports(2)
    flags = ["--auth-tokens", str(tokens), "--metrics-addr", f"127.0.0.1:{metrics}"]
    flags += ["--message-timeout", "3", "--max-connection-idle", "10"]
    flags += ["--keepalive-interval", "5", "--keepalive-timeout", "5"]
    server = Server(port, *flags, model=str(TINY) if arguments.tiny else arguments.model)
    target = Target(port, token, texts, patience=arguments.deadline)
    watch = Watch(server, metrics)
    try:
        before = await known_answer(target)
        # Buffers and pools grow to their size first; what grows afterwards would grow for ever.
        warm = Ledger(arguments.most)
        await traffic(target, warm, watch, arguments.seconds * arguments.warm, arguments)
        await watch.at_rest(30)
        watch.samples.clear()
        watch.look()
        ledger = Ledger(arguments.most)
        start = time.monotonic()
        rest = arguments.seconds * (1 - arguments.warm)
        await traffic(target, ledger, watch, rest, arguments)
        took = time.monotonic() - start
        gauges = await watch.at_rest(30)
        after = await known_answer(target)
        await watch.at_rest(30)
        watch.look()
        lives = server.process.poll() is None
    finally:
        code = server.end()
    outcomes: collections.Counter[str] = collections.Counter()
    for counts in ledger.kinds.values():
        outcomes.update(counts)
    lost = warm.lost + ledger.lost
    surprises = warm.surprises + ledger.surprises
    return {
        "what": "good and hostile clients against one server on loopback",
        "model": "tests/fixtures/tiny" if arguments.tiny else arguments.model or "built in",
        "seconds": round(took, 1),
        "sent": ledger.sent,
        "answered": outcomes["OK"],
        "refused": {c: n for c, n in sorted(outcomes.items()) if c != "OK"},
        "lost": len(lost),
        "surprises": len(surprises),
        "examples": [*lost[:EXAMPLES], *surprises[:EXAMPLES]],
        "memory_kib": share(watch.samples, "memory_kib"),
        "handles": share(watch.samples, "handles"),
        "threads": share(watch.samples, "threads"),
        "gauges_at_the_end": gauges,
        "the_same_answer_at_the_end": before == after,
        "panics": server.panics,
        "server_lives": lives,
        "exit_code": code,
        "kinds": {kind: dict(sorted(c.items())) for kind, c in sorted(ledger.kinds.items())},
    }


def sound(result: dict[str, Any]) -> list[str]:
    """What is wrong with a result."""
    memory = result["memory_kib"]
    checks = {
        "something was lost": result["lost"] == 0,
        "something came to an end that it must not come to": result["surprises"] == 0,
        "nothing was answered": result["answered"] > 0,
        "a gauge is not zero": not any(result["gauges_at_the_end"].values()),
        "handles are left": result["handles"]["last"] <= result["handles"]["first"] + 2,
        "threads are left": result["threads"]["last"] <= result["threads"]["first"] + 2,
        "memory has grown": memory["last"] <= memory["first"] * 1.1 + 16 * 1024,
        "the answer has changed": result["the_same_answer_at_the_end"],
        "something panicked": result["panics"] == 0,
        "the server has died": result["server_lives"] and result["exit_code"] == 0,
    }
    return [problem for problem, fine in checks.items() if not fine]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--warm", type=float, default=0.1, help="share of it that warms up")
    parser.add_argument("--most", type=int, default=1_000_000, help="calls and attacks altogether")
    parser.add_argument("--callers", type=int, default=4)
    parser.add_argument("--attackers", type=int, default=8)
    parser.add_argument("--deadline", type=float, default=60.0, help="seconds for any answer")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--model", help="left out: the model inside the binary")
    parser.add_argument("--tiny", action="store_true", help="the tiny model of the tests")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "soak.json")
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(measure(arguments, Path(folder) / "tokens"))
    problems = sound(result)
    write(arguments.out, {**result, "problems": problems})
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
