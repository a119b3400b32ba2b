"""Asks copydesk servers about articles, and prints the sentences as they come:

    pip install ./clients/python
    python examples/python/classify.py examples/articles/diplomacy.txt

Exit codes: 0 done, 1 something failed, 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from copydesk import Article, Client, CopydeskError, Restart, Sentence, Summary


def main() -> int:
    parser = argparse.ArgumentParser(description="Asks copydesk servers about articles.")
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path, help="plain text, UTF-8")
    parser.add_argument("--server", metavar="URL", action="append", help="may be repeated")
    parser.add_argument("--root-certificates", metavar="FILE", type=Path, help="PEM, with https://")
    parser.add_argument("--certificate", metavar="FILE", type=Path, help="PEM, for the server")
    parser.add_argument("--key", metavar="FILE", type=Path, help="PEM, of --certificate")
    parser.add_argument("--token-file", metavar="FILE", type=Path, help="what lets the client in")
    parser.add_argument("--timeout", metavar="SECONDS", type=float, default=300.0)
    arguments = parser.parse_args()
    if bool(arguments.certificate) != bool(arguments.key):
        parser.error("--certificate and --key go together")
    try:
        client = connect(arguments)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    with client:
        failed = sum(not page(client, file) for file in arguments.files)
    return 1 if failed else 0


def connect(arguments: argparse.Namespace) -> Client:
    roots, certificate, token = None, None, None
    if arguments.root_certificates:
        roots = arguments.root_certificates.read_bytes()
    if arguments.certificate:
        certificate = arguments.certificate.read_bytes(), arguments.key.read_bytes()
    if arguments.token_file:
        token = arguments.token_file.read_text(encoding="utf-8").strip()
    return Client(
        *(arguments.server or ()),
        root_certificates=roots,
        certificate=certificate,
        token=token,
        timeout=arguments.timeout,
    )


def page(client: Client, file: Path) -> bool:
    """Prints the answer to an article; whether it has one."""
    print(f"{file}\n", flush=True)
    try:
        article = Article(text=file.read_text(encoding="utf-8-sig"), id=str(file))
        for event in client.stream(article):
            print(lines(event), flush=True)
    except BrokenPipeError:
        raise
    except (OSError, UnicodeDecodeError, CopydeskError) as error:
        print(f"{file}: {error}", file=sys.stderr)
        return False
    return True


def lines(event: Sentence | Restart | Summary) -> str:
    match event:
        case Sentence():
            out = [f"{event.index + 1:>3}  {event.type:<12} {' '.join(event.text.split())}"]
            if event.speaker:
                out.append(f"     speaker: {event.speaker.text}")
            if event.parties:
                parties = ", ".join(f"{p.name} {p.sentiment}" for p in event.parties)
                out.append(f"     parties: {parties}")
            return "\n".join(out)
        case Restart():
            return "\n(the answer broke off and begins anew)\n"
        case Summary():
            found = ((label, count) for label, count in event.type_counts.items() if count)
            counts = ", ".join(f"{count} {label}" for label, count in found)
            return f"\n{event.sentence_count} sentences: {counts}\n"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:
        # Whoever reads the output has enough. What Python still holds of it must go somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
