"""Two `copydesk serve` behind Envoy (deploy/envoy.yaml), on loopback, with a tiny model.

Rolling restart: while plain gRPC clients, which never try again, and corpora ask without a pause,
each replica in turn gets SIGTERM and is started anew. No call may fail.

Kill: while the bundled client and the Python client read a corpus, replicas get SIGKILL in turn and
are started anew. Every article must be answered, once.

Ends with 1 if a promise is broken; writes what was measured as JSON.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from common import ROOT, TINY, Server, binary, free_ports, write

import grpc
from copydesk import Answer, Article, Client
from copydesk.v1 import article_pb2, classifier_pb2, classifier_pb2_grpc

SENTENCE = "The league met in Port Ellis and left again in the morning. "


class Envoy:
    """Envoy with the published configuration, on ports of our own."""

    def __init__(self, replicas: list[int], sound: int = 2) -> None:
        self.port, admin = free_ports(2)
        text = (ROOT / "deploy" / "envoy.yaml").read_text()
        ports = {9901: admin, 50050: self.port, 50051: replicas[0], 50052: replicas[1]}
        text, found = re.subn(r"(?<=port_value: )\d+", lambda m: str(ports[int(m[0])]), text)
        assert found == len(ports)
        file = tempfile.NamedTemporaryFile("w", suffix=".yaml", delete=False)
        with file:
            file.write(text)
        command = [str(Path(sys.executable).parent / "envoy"), "-c", file.name]
        quiet = ["--log-level", "error", "--concurrency", "1", "--use-dynamic-base-id"]
        self.process = subprocess.Popen([*command, *quiet])
        self.url, self._admin = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{admin}"
        self.until_healthy(sound)

    def stat(self, name: str) -> int:
        with urllib.request.urlopen(f"{self._admin}/stats?filter=^{name}$", timeout=5) as answer:
            text = answer.read().decode()
        return int(text.rsplit(":", 1)[1]) if ":" in text else 0

    def until_healthy(self, count: int) -> None:
        for _ in range(600):
            try:
                if self.stat("cluster.copydesk.membership_healthy") == count:
                    return
            except OSError:
                if self.process.poll() is not None:
                    raise RuntimeError("Envoy has ended") from None
            time.sleep(0.1)
        raise TimeoutError(f"Envoy does not come to see {count} sound replicas")

    def retries(self) -> int:
        return self.stat("cluster.copydesk.upstream_rq_retry")

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)


def text(number: int) -> str:
    """One to four sentences, so that an answer that belongs to another article shows."""
    return SENTENCE * (1 + number % 4)


def wrong(number: int, sentences: int) -> bool:
    return sentences != 1 + number % 4


# Rolling restart.


class Callers:
    """Plain stubs without retries, and corpora, that ask until they are stopped."""

    def __init__(self, envoy: Envoy, calls: int, corpora: int) -> None:
        self._envoy, self._over = envoy, threading.Event()
        self.answered, self.in_corpora, self.errors = 0, 0, []
        self._lock = threading.Lock()
        works = [self._call] * calls + [self._corpus] * corpora
        self._threads = [threading.Thread(target=w, daemon=True) for w in works]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(timeout=120)
        if any(thread.is_alive() for thread in self._threads):
            self.errors.append("a caller hangs")

    def _call(self) -> None:
        # No retry anywhere in the client: what it sees is what Envoy and the replicas do.
        options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(self._envoy.url.removeprefix("http://"), options) as channel:
            stub = classifier_pb2_grpc.ClassifierServiceStub(channel)
            number = 0
            while not self._over.is_set():
                number += 1
                article = article_pb2.Article(id=f"a{number}", text=text(number))
                request = classifier_pb2.ClassifyArticleRequest(article=article)
                try:
                    *sentences, last = stub.ClassifyArticle(request, timeout=60)
                    if wrong(number, len(sentences)) or not last.HasField("summary"):
                        raise ValueError("not the answer to this article")
                except (grpc.RpcError, ValueError) as error:
                    code = error.code().name if isinstance(error, grpc.RpcError) else ""
                    with self._lock:
                        self.errors.append(f"{code} {error}"[:300])
                else:
                    with self._lock:
                        self.answered += 1

    def _corpus(self) -> None:
        def articles() -> Iterator[Article]:
            number = 0
            while not self._over.is_set():
                yield Article(id=f"a{number}", text=text(number))
                number += 1

        try:
            with Client(self._envoy.url, timeout=60) as client:
                for number, outcome in enumerate(client.classify_all(articles())):
                    if outcome.article_id != f"a{number}" or not isinstance(outcome, Answer):
                        raise ValueError(f"{outcome} in place of a{number}")
                    with self._lock:
                        self.in_corpora += 1
        except Exception as error:
            with self._lock:
                self.errors.append(f"corpus: {error!r}"[:300])


def rolling_restart(envoy: Envoy, servers: list[Server], rounds: int) -> dict[str, Any]:
    retries, start = envoy.retries(), time.monotonic()
    callers = Callers(envoy, calls=6, corpora=2)
    time.sleep(1.0)
    drains = []
    for _ in range(rounds):
        for server in servers:
            began = time.monotonic()
            code = server.end(signal.SIGTERM)
            drains.append(round(time.monotonic() - began, 2))
            if code != 0:
                callers.errors.append(f"a replica ended with {code}")
            server.start()
            envoy.until_healthy(2)
    time.sleep(1.0)
    callers.stop()
    return {
        "restarts": rounds * len(servers),
        "seconds": round(time.monotonic() - start, 1),
        "calls_answered": callers.answered,
        "corpus_articles_answered": callers.in_corpora,
        "errors": callers.errors,
        "seconds_to_stop": drains,
        "retries_by_envoy": envoy.retries() - retries,
    }


# Kill.


def bundled(envoy: Envoy, file: Path, outcome: dict[str, Any]) -> None:
    command = [binary(), "classify", "--server", envoy.url, "--format", "jsonl", str(file)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    outcome["exit"] = ran.returncode
    outcome["stderr"] = ran.stderr.splitlines()[:10]
    outcome["articles"] = [(a["id"], len(a.get("sentences", []))) for a in lines]


def python(envoy: Envoy, count: int, outcome: dict[str, Any]) -> None:
    articles = (Article(id=f"a{n}", text=text(n)) for n in range(count))
    outcome["articles"] = []
    with Client(envoy.url, timeout=60) as client:
        for answer in client.classify_all(articles):
            sentences = len(answer.sentences) if isinstance(answer, Answer) else -1
            outcome["articles"].append((answer.article_id, sentences))


def judge(outcome: dict[str, Any], count: int) -> dict[str, Any]:
    found = outcome.get("articles", [])
    ids = [id for id, _ in found]
    wanted = {f"a{n}" for n in range(count)}
    return {
        "articles": count,
        "answered": sum(not wrong(int(id[1:]), sentences) for id, sentences in found),
        "lost": len(wanted - set(ids)),
        "twice": len(ids) - len(set(ids)),
        "wrong": sum(wrong(int(id[1:]), sentences) for id, sentences in found),
        "in_order": ids == [f"a{n}" for n in range(count)],
        "said": outcome.get("stderr", []) + outcome.get("problem", []),
    }


def kill(envoy: Envoy, servers: list[Server], count: int, kills: int) -> dict[str, Any]:
    start, retries = time.monotonic(), envoy.retries()
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "corpus.jsonl"
        with file.open("w") as lines:
            for number in range(count):
                lines.write(json.dumps({"id": f"a{number}", "text": text(number)}) + "\n")
        outcomes: dict[str, dict[str, Any]] = {"bundled": {}, "python": {}}

        def work(name: str, *arguments: Any) -> None:
            try:
                {"bundled": bundled, "python": python}[name](envoy, *arguments, outcomes[name])
            except Exception as error:
                outcomes[name]["problem"] = [repr(error)[:300]]

        threads = [
            threading.Thread(target=work, args=("bundled", file), daemon=True),
            threading.Thread(target=work, args=("python", count), daemon=True),
        ]
        for thread in threads:
            thread.start()
        killed = 0
        time.sleep(0.7)
        while any(thread.is_alive() for thread in threads):
            if killed < kills:
                server = servers[killed % len(servers)]
                server.end(signal.SIGKILL)
                killed += 1
                time.sleep(0.3)
                server.start()
                envoy.until_healthy(2)
            time.sleep(0.2)
    return {
        "kills": killed,
        "seconds": round(time.monotonic() - start, 1),
        "retries_by_envoy": envoy.retries() - retries,
        **{name: judge(outcome, count) for name, outcome in outcomes.items()},
    }


def sound(result: dict[str, Any], count: int) -> bool:
    restart, killed = result["rolling_restart"], result["kill"]
    whole = all(
        killed[name]["answered"] == count and killed[name]["in_order"]
        for name in ("bundled", "python")
    )
    return not restart["errors"] and restart["calls_answered"] > 0 and killed["kills"] > 0 and whole


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--articles", type=int, default=10_000, help="of each corpus")
    parser.add_argument("--rounds", type=int, default=2, help="restarts of each replica")
    parser.add_argument("--kills", type=int, default=6, help="at most, while the corpora are read")
    parser.add_argument("--drain-wait", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "replicas.json")
    arguments = parser.parse_args()
    ports = free_ports(2)
    flags = ["--workers", "1", "--drain-wait", str(arguments.drain_wait), "--drain-timeout", "30"]
    servers: list[Server] = []
    envoy = None
    try:
        servers = [Server(port, *flags, model=str(TINY)) for port in ports]
        envoy = Envoy(ports)
        count = arguments.articles
        result = {
            "what": "two replicas behind Envoy 1.40, deploy/envoy.yaml, tests/fixtures/tiny",
            "settings": {"drain_wait_seconds": arguments.drain_wait, "workers": 1},
            "rolling_restart": rolling_restart(envoy, servers, arguments.rounds),
            "kill": kill(envoy, servers, count, arguments.kills),
        }
    finally:
        if envoy:
            envoy.end()
        for server in servers:
            server.end(signal.SIGKILL)
    result["sound"] = sound(result, count)
    write(arguments.out, result)
    return 0 if result["sound"] else 1


if __name__ == "__main__":
    sys.exit(main())
