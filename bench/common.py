"""What the benches share: server processes, free ports, the machine, and results as JSON."""

from __future__ import annotations

import json
import os
import platform
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TINY = ROOT / "tests" / "fixtures" / "tiny"


def binary() -> str:
    """The server to run: $COPYDESK_BIN, or what cargo built, release before debug."""
    if given := os.environ.get("COPYDESK_BIN"):
        return given
    for kind in ("release", "debug"):
        if (path := ROOT / "target" / kind / "copydesk").exists():
            return str(path)
    sys.exit("no copydesk; `cargo build --release` first, or set COPYDESK_BIN")


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Server:
    """A `copydesk serve` that is to be there again after each restart."""

    def __init__(self, port: int, *flags: str, model: str | None = None) -> None:
        self.port, self._flags, self._model = port, flags, model
        self.url = f"http://127.0.0.1:{port}"
        # Panics that its log tells of.
        self.panics = 0
        self.start()

    def start(self) -> None:
        command = [binary(), "serve", "--addr", f"127.0.0.1:{self.port}", "--log-format", "json"]
        if self._model:
            command += ["--model", self._model]
        self.process = subprocess.Popen([*command, *self._flags], stderr=subprocess.PIPE, text=True)
        serving = threading.Event()

        def read(log: Any) -> None:
            for line in log:
                self.panics += "panicked at" in line
                if "the model answers" in line:
                    serving.set()
            serving.set()

        threading.Thread(target=read, args=(self.process.stderr,), daemon=True).start()
        if not serving.wait(60) or self.process.poll() is not None:
            raise RuntimeError(f"the server on port {self.port} does not come to serve")

    def end(self, kind: int = signal.SIGTERM) -> int:
        self.process.send_signal(kind)
        return self.process.wait(timeout=90)

    def rss_kib(self) -> int:
        """Resident memory; 0 where the system does not tell."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return 0
        return next(int(l.split()[1]) for l in status.splitlines() if l.startswith("VmRSS:"))


def machine() -> dict[str, Any]:
    model = ""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": model, "cores": cores, "system": f"{platform.system()} {platform.machine()}"}


def write(out: Path, result: dict[str, Any]) -> None:
    """Writes a result, with the machine that it comes from."""
    build = "debug" if "/debug/" in binary() else "release"
    head = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "build": build}
    out.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**head, "machine": machine(), **result}, indent=2, ensure_ascii=False)
    out.write_text(text + "\n")
    print(text)
