"""Servers for the tests: the real one, with the tiny model of the Rust tests. Its labels are
nonsense, but shapes, places and errors are right.

COPYDESK_BIN names the server's binary; otherwise it is looked for where cargo puts it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from copydesk import Client

ROOT = Path(__file__).resolve().parents[3]
TEXT = "The league met in Port Ellis 🦊. “We go,” said Ida Brandt.\n\nOster 🦊🦊 blamed Norland."
SENTENCE = "The league met in Port Ellis and left again in the morning. "


def binary() -> str:
    if given := os.environ.get("COPYDESK_BIN"):
        return given
    for kind in ("debug", "release"):
        if (path := ROOT / "target" / kind / "copydesk").exists():
            return str(path)
    raise FileNotFoundError("no server; `cargo build` first, or set COPYDESK_BIN")


class Server:
    """A server process; `url` is where it listens, now and after a restart."""

    def __init__(self, *flags: str) -> None:
        self._flags = flags
        self.address = "127.0.0.1:0"
        self.start()

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def start(self) -> None:
        model = str(ROOT / "tests" / "fixtures" / "tiny")
        command = [binary(), "serve", "--addr", self.address, "--model", model]
        command += ["--log-format", "json", *self._flags]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        serving = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(serving,), daemon=True)
        self._reader.start()
        if not serving.wait(60) or self._process.poll() is not None:
            raise RuntimeError(f"the server at {self.address} does not come to serve")

    def _read(self, serving: threading.Event) -> None:
        # Its log is read on, so that it never waits for us.
        assert self._process.stderr
        with self._process.stderr as log:
            for line in log:
                fields: dict[str, Any] = json.loads(line).get("fields", {})
                if fields.get("message") == "listening":
                    self.address = fields["address"]
                if fields.get("message") == "the model answers; serving":
                    serving.set()
        serving.set()

    def stop(self, kind: int = signal.SIGKILL) -> int:
        """Ends it, at once unless told otherwise; its exit code."""
        self._process.send_signal(kind)
        code = self._process.wait(timeout=60)
        self._reader.join()
        return code

    def restart(self, kind: int = signal.SIGKILL) -> None:
        """Ends it, and starts another in its place."""
        self.stop(kind)
        self.start()


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    """Starts servers of a test's own."""
    servers: list[Server] = []

    def begin(*flags: str) -> Server:
        servers.append(Server(*flags))
        return servers[-1]

    yield begin
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server that all tests share."""
    shared = Server()
    yield shared
    shared.stop()


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[Client]:
    with Client(server.url, timeout=300) as shared:
        yield shared


class Later:
    """What a thread comes to."""

    def __init__(self, work: Callable[..., Any], *arguments: Any) -> None:
        self._result: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work, *arguments), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[..., Any], *arguments: Any) -> None:
        try:
            self._result = work(*arguments)
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        self._thread.join(timeout=120)
        assert not self._thread.is_alive(), "it hangs"
        if self._error:
            raise self._error
        return self._result


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    """Waits for something to come true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it does not come true"
        time.sleep(0.02)
