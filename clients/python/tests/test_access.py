"""TLS, certificates of the client's, and tokens, against the real server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from conftest import Server

from copydesk import Article, AsyncClient, Client, CopydeskError

Start = Callable[..., Server]
TOKEN = "correct-horse-battery"


@dataclass
class Papers:
    """A private authority, the flags of a server that it vouches for, and a client's certificate."""

    roots: bytes
    flags: list[str]
    client_flags: list[str]
    certificate: tuple[bytes, bytes]


@pytest.fixture
def papers(tmp_path: Path) -> Papers:
    authority = trustme.CA()
    server, client = authority.issue_cert("127.0.0.1"), authority.issue_cert("newsroom@a.example")
    files = {
        "ca.pem": authority.cert_pem.bytes(),
        "server.pem": b"".join(part.bytes() for part in server.cert_chain_pems),
        "server.key": server.private_key_pem.bytes(),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    chain = b"".join(part.bytes() for part in client.cert_chain_pems)

    def path(name: str) -> str:
        return str(tmp_path / name)

    return Papers(
        roots=files["ca.pem"],
        flags=["--tls-cert", path("server.pem"), "--tls-key", path("server.key")],
        client_flags=["--tls-client-ca", path("ca.pem")],
        certificate=(chain, client.private_key_pem.bytes()),
    )


@pytest.fixture
def tokens(tmp_path: Path) -> list[str]:
    file = tmp_path / "tokens"
    file.write_text(f"# ours\n{TOKEN}\n", encoding="utf-8")
    return ["--auth-tokens", str(file)]


def secure(server: Server) -> str:
    return f"https://{server.address}"


async def test_a_private_authority_and_a_token(
    start: Start, papers: Papers, tokens: list[str]
) -> None:
    server = start(*papers.flags, *tokens)
    settings = {"root_certificates": papers.roots, "token": TOKEN}
    with Client(secure(server), **settings) as client:  # type: ignore[arg-type]
        assert len(client.classify("The league met.").sentences) == 1
        assert client.serving() == {secure(server): True}
    async with AsyncClient(secure(server), **settings) as ours:  # type: ignore[arg-type]
        assert len((await ours.classify("The league met.")).sentences) == 1
        assert (await ours.model()).identity.revision == "fixture"


async def test_a_server_that_asks_for_a_certificate(start: Start, papers: Papers) -> None:
    server = start(*papers.flags, *papers.client_flags)
    known = {"root_certificates": papers.roots, "certificate": papers.certificate}
    with Client(secure(server), **known) as client:  # type: ignore[arg-type]
        assert len(client.classify("The league met.").sentences) == 1
    async with AsyncClient(secure(server), **known) as ours:  # type: ignore[arg-type]
        assert len((await ours.classify("The league met.")).sentences) == 1
    with Client(secure(server), root_certificates=papers.roots, tries=1) as nobody:
        with pytest.raises(CopydeskError):
            nobody.classify("The league met.")


def test_a_server_that_nobody_vouches_for(start: Start, papers: Papers) -> None:
    server = start(*papers.flags)
    other = trustme.CA().cert_pem.bytes()
    for roots in (None, other):
        with Client(secure(server), root_certificates=roots, tries=1) as client:
            with pytest.raises(CopydeskError):
                client.classify("The league met.")


async def test_a_token_lets_in(start: Start, tokens: list[str]) -> None:
    server = start(*tokens)
    article = Article("The league met.", id="a")
    with Client(server.url, token=TOKEN) as client:
        assert len(client.classify(article).sentences) == 1
        assert len(list(client.classify_all([article]))) == 1
        assert client.models()[server.url].identity.id
    with Client(server.url, token="correct-horse-battery-staple") as stranger:
        for ask in (stranger.model, lambda: stranger.classify(article)):
            with pytest.raises(CopydeskError) as caught:
                ask()
            assert caught.value.reason == "UNAUTHENTICATED"
        with pytest.raises(CopydeskError) as caught:
            list(stranger.classify_all([article, article]))
        assert caught.value.reason == "UNAUTHENTICATED", "no article's own fault"
    async with AsyncClient(server.url) as ours:
        with pytest.raises(CopydeskError) as caught:
            await ours.classify(article)
        assert caught.value.reason == "UNAUTHENTICATED"
