"""A corpus on Spark (examples/spark) against replicas behind Envoy (deploy/envoy.yaml).

All on loopback. Spark runs as `local-cluster[2,1,1024]`: a master and two workers, each executor a
process of its own. While the corpus is read, a replica gets SIGKILL and is started anew, and so
does an executor, which Spark replaces. The answer must be what `copydesk classify --format csv`
writes in one process, row for row.

    bench/spark/run                                          # made-up articles, tests/fixtures/tiny
    bench/spark/run --articles FILE.jsonl --model models/news-en
    bench/spark/run --kills 0 --replicas 1 --workers 1       # throughput

Ends with 1 if a promise is broken; writes what was measured as JSON.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "replicas")]

import pyarrow as pa
import pyarrow.parquet as pq
import pyspark

from common import ROOT, TINY, Server, binary, free_ports, write
from replicas import Envoy

JOB = ROOT / "examples" / "spark" / "classify.py"

Row = tuple[str, ...]


# The corpus.


def made_up(count: int) -> Iterator[dict[str, str]]:
    """Articles of the examples' paragraphs, mixed."""
    files = sorted((ROOT / "examples" / "articles").glob("*.txt"))
    paragraphs = [p for f in files for p in f.read_text().split("\n\n") if p.strip()]
    chance = random.Random(1)
    for number in range(count):
        picked = chance.sample(paragraphs, chance.randint(4, 16))
        yield {"id": f"a{number:06}", "headline": f"Number {number}", "text": "\n\n".join(picked)}


def of_file(file: Path, count: int) -> Iterator[dict[str, str]]:
    opened = gzip.open(file, "rt") if file.suffix == ".gz" else file.open()
    with opened as lines:
        for number, line in zip(range(count), lines, strict=False):
            article = json.loads(line)
            id = str(article.get("id") or number)
            yield {"id": id, "headline": article.get("headline") or "", "text": article["text"]}


# The answer of one process.


def alone(corpus: Path, model: str | None) -> tuple[Counter[Row], float]:
    out = corpus.with_suffix(".csv")
    command = [binary(), "classify", "--format", "csv", "--out", str(out), str(corpus)]
    begun = time.monotonic()
    ran = subprocess.run(
        command + (["--model", model] if model else []), stderr=subprocess.PIPE, text=True
    )
    seconds = time.monotonic() - begun
    if ran.returncode != 0:
        raise RuntimeError(f"exit {ran.returncode}: {ran.stderr[-2000:]}")
    with out.open(newline="", encoding="utf-8") as file:
        names, *rows = csv.reader(file)
    return Counter(tuple(plain(n, v) for n, v in zip(names, row)) for row in rows), seconds


def of_spark(folder: Path) -> tuple[Counter[Row], int]:
    """Rows, and how many of them say that an article has no answer."""
    table = pq.read_table(folder)
    errors = table.column("error")
    table = table.drop_columns(["error"])
    names = table.column_names
    rows: Counter[Row] = Counter()
    for batch in table.to_batches(max_chunksize=10_000):
        for row in zip(*(column.to_pylist() for column in batch.columns)):
            rows[tuple(plain(n, v) for n, v in zip(names, row))] += 1
    return rows, len(errors) - errors.null_count


def plain(name: str, value: Any) -> str:
    """A cell as text, the same from a table and from a CSV."""
    if value is None or value == "":
        return ""
    if "score" in name:
        return f"{float(value):.4f}"
    return str(value).upper() if name == "speaker_inherited" else str(value)


# Spark.


class Job:
    """The job as a process of its own."""

    def __init__(self, server: str, corpus: Path, out: Path, folder: Path, task: int) -> None:
        (self._port,) = free_ports(1)
        self._events = folder / "events"
        self._events.mkdir()
        home = Path(pyspark.__file__).parent
        settings = {
            "spark.ui.port": self._port,
            "spark.eventLog.enabled": "true",
            "spark.eventLog.dir": self._events.as_uri(),
            "spark.eventLog.compress": "false",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
            "spark.local.dir": folder / "spark",
            "spark.sql.execution.arrow.maxRecordsPerBatch": 100,
        }
        conf = [part for k, v in settings.items() for part in ("--conf", f"{k}={v}")]
        command = [str(home / "bin" / "spark-submit"), "--master", "local-cluster[2,1,1024]", *conf]
        command += [str(JOB), "--server", server, "--task", str(task), str(corpus), str(out)]
        environment = {
            **os.environ,
            "SPARK_HOME": str(home),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_WORKER_DIR": str(folder / "workers"),
            "PYSPARK_PYTHON": sys.executable,
            "PYSPARK_DRIVER_PYTHON": sys.executable,
        }
        self.log = folder / "spark.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True
            )

    def done(self) -> tuple[int, int]:
        """Tasks of the answering stage that are done, and all of it; nought of nought before."""
        try:
            base = f"http://127.0.0.1:{self._port}/api/v1/applications"
            with urllib.request.urlopen(base, timeout=5) as answer:
                (application,) = json.load(answer)
            with urllib.request.urlopen(
                f"{base}/{application['id']}/stages?status=active", timeout=5
            ) as answer:
                stages = json.load(answer)
        except (OSError, ValueError):
            return 0, 0
        # The others have a task or two.
        stage = max(stages, key=lambda s: s["numTasks"], default=None)
        return (
            (stage["numCompleteTasks"], stage["numTasks"])
            if stage and stage["numTasks"] > 4
            else (0, 0)
        )

    def executors(self) -> list[int]:
        """Process ids of this job's executors."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                words = (path / "cmdline").read_bytes().decode().split("\0")
                parents = {int(path.name), *ancestors(int(path.name))}
            except (OSError, ValueError):
                continue
            if (
                "org.apache.spark.executor.CoarseGrainedExecutorBackend" in words
                and self.process.pid in parents
            ):
                found.append(int(path.name))
        return found

    def events(self) -> Iterator[dict[str, Any]]:
        for file in self._events.rglob("*"):
            if file.is_file():
                for line in file.open():
                    if line.startswith("{"):
                        yield json.loads(line)


def ancestors(pid: int) -> Iterator[int]:
    while pid > 1:
        stat = Path(f"/proc/{pid}/stat").read_text()
        pid = int(stat.rsplit(")", 1)[1].split()[1])
        yield pid


def told(events: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """What Spark says of the run: tasks, those that were lost, executors that were."""
    tasks, lost, executors, begun, ended = 0, 0, 0, [], []
    for event in events:
        match event["Event"]:
            case "SparkListenerTaskEnd":
                done = event["Task End Reason"]["Reason"] == "Success"
                tasks, lost = tasks + done, lost + (not done)
            case "SparkListenerExecutorRemoved":
                executors += (
                    "exited" in event["Removed Reason"] or "lost" in event["Removed Reason"].lower()
                )
            case "SparkListenerStageCompleted":
                stage = event["Stage Info"]
                # One that is run again has several of these.
                if any("MapInArrow" in rdd.get("Scope", "") for rdd in stage["RDD Info"]):
                    begun.append(stage["Submission Time"])
                    ended.append(stage["Completion Time"])
    return {
        "tasks": tasks,
        "tasks_lost": lost,
        "executors_lost": executors,
        "seconds_answering": (max(ended, default=0) - min(begun, default=0)) / 1e3,
    }


class Killer(threading.Thread):
    """Kills a replica when a quarter of the tasks is done, and an executor when half of them is."""

    def __init__(self, job: Job, servers: list[Server], envoy: Envoy) -> None:
        super().__init__(daemon=True)
        self._job, self._servers, self._envoy = job, servers, envoy
        self.killed: list[str] = []
        self.start()

    def run(self) -> None:
        while len(self.killed) < 2 and self._job.process.poll() is None:
            time.sleep(0.5)
            done, tasks = self._job.done()
            if not self.killed and tasks and done >= tasks / 4:
                self._servers[0].end(signal.SIGKILL)
                self.killed.append(f"a replica after {done} of {tasks} tasks")
                time.sleep(2)
                self._servers[0].start()
                self._envoy.until_healthy(len(self._servers))
            elif self.killed and tasks and done >= tasks / 2:
                (pid, *_) = self._job.executors()
                os.kill(pid, signal.SIGKILL)
                self.killed.append(f"an executor after {done} of {tasks} tasks")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--articles", type=Path, help="JSON Lines (.gz) with text; made up if left out"
    )
    parser.add_argument("--count", type=int, default=5000, help="articles, at most")
    parser.add_argument("--task", type=int, default=100, help="articles of a task")
    parser.add_argument(
        "--model", default=str(TINY), help="model directory; 'embedded' is the default model"
    )
    parser.add_argument("--replicas", type=int, default=2, choices=(1, 2))
    parser.add_argument("--workers", type=int, default=1, help="of each replica")
    parser.add_argument("--kills", type=int, default=2, choices=(0, 2))
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "spark.json")
    arguments = parser.parse_args()
    # Whoever ends this ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    model = None if arguments.model == "embedded" else arguments.model
    ports, load = free_ports(2), os.getloadavg()
    servers: list[Server] = []
    envoy = job = None
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        source = (
            of_file(arguments.articles, arguments.count)
            if arguments.articles
            else made_up(arguments.count)
        )
        articles = list(source)
        corpus = folder / "corpus.jsonl"
        with corpus.open("w", encoding="utf-8") as lines:
            lines.writelines(json.dumps(a, ensure_ascii=False) + "\n" for a in articles)
        pq.write_table(
            pa.Table.from_pylist(articles), folder / "corpus.parquet", row_group_size=500
        )
        expected, seconds_alone = alone(corpus, model)
        try:
            # Envoy knows two; one that is not there is not sound, and gets nothing.
            flags = ["--workers", str(arguments.workers)]
            servers = [Server(port, *flags, model=model) for port in ports[: arguments.replicas]]
            envoy = Envoy(ports, len(servers))
            retries, begun = envoy.retries(), time.monotonic()
            job = Job(
                envoy.url, folder / "corpus.parquet", folder / "answers", folder, arguments.task
            )
            killer = Killer(job, servers, envoy) if arguments.kills else None
            said, _ = job.process.communicate()
            seconds = time.monotonic() - begun
            if not (folder / "answers" / "_SUCCESS").exists():
                print(job.log.read_text()[-5000:], file=sys.stderr)
                return 1
            rows, failed = of_spark(folder / "answers")
            spark = told(job.events())
            result = {
                "what": "examples/spark on Spark 4.3 local-cluster[2,1,1024], behind Envoy 1.40",
                "articles": len(articles),
                "corpus": "real" if arguments.articles else "made up",
                "model": Path(model).name if model else "news-en",
                "load_before": [round(load, 2) for load in load],
                "replicas": len(servers),
                "workers": arguments.workers,
                "exit": job.process.returncode,
                "said": said.strip().splitlines()[-1:],
                "killed": killer.killed if killer else [],
                "rows": rows.total(),
                "rows_of_one_process": expected.total(),
                "rows_equal": (rows & expected).total(),
                "articles_failed": failed,
                "seconds": round(seconds, 1),
                "articles_per_second": round(
                    len(articles) / (spark["seconds_answering"] or seconds), 2
                ),
                "seconds_of_one_process": round(seconds_alone, 1),
                "retries_by_envoy": envoy.retries() - retries,
                **spark,
            }
        finally:
            if job and job.process.poll() is None:
                job.process.terminate()
                job.process.wait()
            if envoy:
                envoy.end()
            for server in servers:
                server.end(signal.SIGKILL)
    write(arguments.out, result)
    if rows != expected:
        for row in [*(rows - expected).keys()][:3] + [*(expected - rows).keys()][:3]:
            print(row, file=sys.stderr)
    whole = rows == expected and not failed and result["exit"] == 0
    return 0 if whole and len(result["killed"]) == arguments.kills else 1


if __name__ == "__main__":
    sys.exit(main())
