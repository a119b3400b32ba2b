"""The scripts of examples/python run."""

from __future__ import annotations

import subprocess
import sys

from conftest import ROOT, Server

EXAMPLES = ROOT / "examples" / "python"
ARTICLE = str(ROOT / "examples" / "articles" / "diplomacy.txt")


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_the_page_shows_each_sentence(server: Server) -> None:
    ran = run("classify.py", "--server", server.url, ARTICLE)
    assert ran.returncode == 0, ran.stderr
    numbers = [line[:3].strip() for line in ran.stdout.splitlines() if line[:3].strip().isdigit()]
    assert numbers[:32] == [str(n) for n in range(1, 33)]
    assert "REYKJAVIK, March 4 - Iceland summoned" in ran.stdout
    assert "\n32 sentences: " in ran.stdout


def test_what_fails_is_told_and_the_rest_goes_on(server: Server) -> None:
    ran = run("classify.py", "--server", server.url, "nothing.txt", ARTICLE)
    assert ran.returncode == 1
    assert "nothing.txt: " in ran.stderr and "\n32 sentences: " in ran.stdout
    assert run("classify.py", "--server", "nowhere", ARTICLE).returncode == 2


def test_reflection_is_enough(server: Server) -> None:
    # In a process of its own, so that no stub can have told it the contract.
    ran = run("reflection.py", server.url)
    assert ran.returncode == 0, ran.stderr
    assert '"text": "“We go,” said Ida Brandt."' in ran.stdout
    assert '"sentenceCount": 2' in ran.stdout
