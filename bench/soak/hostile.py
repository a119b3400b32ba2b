"""Clients that do what none should, each with what a sound server may say to it."""

from __future__ import annotations

import asyncio
import gzip
import os
import random
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    PUSH,
    RESET,
    SERVICE,
    SETTINGS,
    WINDOW,
    Raw,
    block,
    fields,
    frame,
    message,
)

from copydesk.v1 import article_pb2, classifier_pb2

ARTICLE = f"/{SERVICE}/ClassifyArticle"
CORPUS = f"/{SERVICE}/ClassifyArticles"
# A connection that is told off or closed.
CLOSED = frozenset({"GOAWAY", "CLOSED", "RESET"})
# A busy server refuses before it looks.
BUSY = frozenset({"UNAVAILABLE"})


def request(text: str, identity: str = "a") -> bytes:
    article = article_pb2.Article(id=identity, text=text)
    return classifier_pb2.ClassifyArticleRequest(article=article).SerializeToString()


@dataclass
class Target:
    """What is attacked, and how long an answer may take."""

    port: int
    token: str
    texts: list[str]
    patience: float

    def text(self) -> str:
        return random.choice(self.texts)


@dataclass
class Attack:
    """One thing to do to a server."""

    name: str
    run: Callable[[Target], Awaitable[str]]
    # What it may come to; anything else is a finding.
    allowed: frozenset[str]


ATTACKS: list[Attack] = []


def attack(*allowed: str) -> Callable[[Callable[[Target], Awaitable[str]]], Callable]:
    def add(run: Callable[[Target], Awaitable[str]]) -> Callable:
        ATTACKS.append(Attack(run.__name__, run, frozenset(allowed)))
        return run

    return add


async def spoken(target: Target, *pieces: bytes, seconds: float | None = None) -> str:
    """What a server says to frames behind a proper opening."""
    raw = await Raw.open(target.port)
    try:
        await raw.begin()
        await raw.send(*pieces)
        return await raw.outcome(target.patience if seconds is None else seconds)
    finally:
        await raw.close()


async def called(target: Target, head: list[tuple[str, str]], body: bytes | None) -> str:
    raw = await Raw.open(target.port)
    try:
        await raw.begin()
        await raw.call(head, body)
        return await raw.outcome(target.patience)
    finally:
        await raw.close()


def good(target: Target, path: str = ARTICLE, **more: str) -> list[tuple[str, str]]:
    return fields(path, target.token, **more)


# ---- not HTTP/2 at all ----


@attack("CLOSED", "SILENT", "GOAWAY")
async def noise(target: Target) -> str:
    raw = await Raw.open(target.port)
    await raw.send(os.urandom(random.randint(1, 4096)))
    said = await raw.outcome(2)
    await raw.close()
    return said


@attack("HTTP/1.1")
async def http1(target: Target) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
    writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
    try:
        async with asyncio.timeout(target.patience):
            return (await reader.read(64)).split(b" ")[0].decode()
    finally:
        writer.close()


@attack("CLOSED", "SILENT", "GOAWAY")
async def tls_without_tls(target: Target) -> str:
    raw = await Raw.open(target.port)
    await raw.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(508))
    said = await raw.outcome(2)
    await raw.close()
    return said


# ---- malformed frames ----

BAD_FRAMES = {
    "a_frame_too_large": lambda t: [b"\xff\xff\xff" + struct.pack(">BBI", DATA, 0, 1)],
    "data_on_stream_0": lambda t: [frame(DATA, 0, 0, b"x")],
    "data_on_an_idle_stream": lambda t: [frame(DATA, 0, 5, b"x")],
    "headers_on_an_even_stream": lambda t: [
        frame(HEADERS, END_HEADERS | END_STREAM, 2, block(good(t)))
    ],
    "no_window_update": lambda t: [frame(WINDOW, 0, 0, struct.pack(">I", 0))],
    "a_window_too_large": lambda t: [frame(WINDOW, 0, 0, struct.pack(">I", 0x7FFF_FFFF))],
    "settings_of_5_bytes": lambda t: [frame(SETTINGS, 0, 0, b"12345")],
    "settings_with_ack_and_bytes": lambda t: [frame(SETTINGS, ACK, 0, b"123456")],
    "settings_on_a_stream": lambda t: [frame(SETTINGS, 0, 1)],
    "a_ping_of_7_bytes": lambda t: [frame(PING, 0, 0, b"1234567")],
    "reset_of_an_idle_stream": lambda t: [frame(RESET, 0, 7, struct.pack(">I", 8))],
    "continuation_of_nothing": lambda t: [frame(CONTINUATION, END_HEADERS, 1, b"")],
    "a_push_promise": lambda t: [frame(PUSH, END_HEADERS, 1, struct.pack(">I", 2))],
    "an_index_that_is_not_there": lambda t: [frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xff\xff\x7f")],
    "half_a_header": lambda t: [frame(HEADERS, END_HEADERS | END_STREAM, 1, block(good(t))[:-3])],
    "another_frame_amid_headers": lambda t: [
        frame(HEADERS, 0, 1, block(good(t))),
        frame(PING, 0, 0, b"12345678"),
    ],
    "padding_longer_than_the_frame": lambda t: [frame(DATA, 8, 1, b"\xff")],
}
for name, pieces in BAD_FRAMES.items():

    async def bad(target: Target, pieces: Callable = pieces) -> str:
        return await spoken(target, *pieces(target))

    ATTACKS.append(Attack(name, bad, CLOSED))

# Lawful, or nearly so: whatever the server does, it goes on.
ODD_FRAMES = {
    "frames_of_no_kind": lambda t: [frame(200, 255, n, os.urandom(64)) for n in range(50)],
    "a_stream_that_depends_on_itself": lambda t: [frame(PRIORITY, 0, 1, struct.pack(">IB", 1, 16))],
    "a_flood_of_pings": lambda t: [frame(PING, 0, 0, bytes(8))] * 2000,
    "a_flood_of_settings": lambda t: [frame(SETTINGS, 0, 0)] * 2000,
    "a_flood_of_empty_data": lambda t: [
        frame(HEADERS, END_HEADERS, 1, block(good(t))),
        *[frame(DATA, 0, 1)] * 2000,
    ],
    "a_farewell": lambda t: [frame(GOAWAY, 0, 0, bytes(8))],
    "resets_at_once": lambda t: [
        piece
        for n in range(1, 1200, 2)
        for piece in (
            frame(HEADERS, END_HEADERS, n, block(good(t))),
            frame(RESET, 0, n, struct.pack(">I", 8)),
        )
    ],
}
for name, pieces in ODD_FRAMES.items():

    async def odd(target: Target, pieces: Callable = pieces) -> str:
        return await spoken(target, *pieces(target), seconds=1)

    ATTACKS.append(Attack(name, odd, CLOSED | BUSY | {"SILENT", "INVALID_ARGUMENT", "INTERNAL"}))


@attack("HTTP 431", "GOAWAY", "CLOSED", "RESET")
async def large_headers(target: Target) -> str:
    return await called(target, good(target, x_large="x" * 15_000, y_large="y" * 900), b"")


@attack("HTTP 431", "GOAWAY", "CLOSED", "RESET")
async def many_headers(target: Target) -> str:
    return await called(target, good(target) + [(f"x-{n}", "y") for n in range(1500)], b"")


@attack("HTTP 431", "GOAWAY", "CLOSED", "RESET")
async def a_flood_of_continuations(target: Target) -> str:
    more = block([("x-more", "y" * 10_000)])
    first = frame(HEADERS, 0, 1, block(good(target)))
    return await spoken(target, first, *[frame(CONTINUATION, 0, 1, more)] * 200)


@attack("HTTP 431", "GOAWAY", "CLOSED", "RESET")
async def a_header_bomb(target: Target) -> str:
    """One large field put into the table, then named by its index again and again."""
    entry = b"\x40" + block([("x-bomb", "y" * 3000)])[1:]
    return await spoken(
        target,
        frame(HEADERS, END_HEADERS | END_STREAM, 1, block(good(target)) + entry + b"\xbe" * 12_000),
    )


# ---- malformed messages ----

REFUSED = frozenset({"INTERNAL", "INVALID_ARGUMENT", "UNIMPLEMENTED", "OUT_OF_RANGE", "UNKNOWN"})
BAD_MESSAGES = {
    "a_message_of_noise": lambda: message(b"\xff" + os.urandom(200)),
    "half_a_message": lambda: message(b"x" * 10, length=1000),
    "half_a_prefix": lambda: b"\x00\x00",
    "a_message_of_4_gib": lambda: message(b"x", length=0xFFFF_FFFF),
    "a_flag_that_is_none": lambda: message(request("It met."), flag=7),
    "compressed_unsaid": lambda: message(gzip.compress(request("It met.")), flag=1),
    "no_message": lambda: b"",
    "two_messages": lambda: message(request("It met.")) * 2,
}
for name, make in BAD_MESSAGES.items():

    async def malformed(target: Target, make: Callable = make) -> str:
        return await called(target, good(target), make())

    # Only the first of two is read.
    ATTACKS.append(Attack(name, malformed, REFUSED | BUSY | ({"OK"} if name == "two_messages" else set())))


@attack("UNIMPLEMENTED")
async def compressed(target: Target) -> str:
    body = message(gzip.compress(request("It met.")), flag=1)
    return await called(target, good(target, grpc_encoding="gzip"), body)


@attack("UNIMPLEMENTED")
async def compressed_by_no_known_way(target: Target) -> str:
    body = message(b"xyz", flag=1)
    return await called(target, good(target, grpc_encoding="brotli9"), body)


@attack("INVALID_ARGUMENT", "UNAVAILABLE")
async def a_name_for_a_thousand(target: Target) -> str:
    """A short text that would ask for two million judgements."""
    parties = article_pb2.PartyList(
        items=[article_pb2.Party(id=f"p{n}", name="a") for n in range(1000)]
    )
    article = article_pb2.Article(id="a", text="a. " * 2000, parties=parties)
    body = classifier_pb2.ClassifyArticleRequest(article=article).SerializeToString()
    return await called(target, good(target), message(body))


# ---- who may not, and what there is not ----


@attack("UNAUTHENTICATED")
async def no_token(target: Target) -> str:
    return await called(target, fields(ARTICLE, None), message(request("It met.")))


@attack("UNAUTHENTICATED")
async def a_wrong_token(target: Target) -> str:
    wrong = random.choice(["x" * 32, target.token[:-1], target.token + "x", "é" * 20])
    return await called(target, fields(CORPUS, wrong), message(request("It met.")))


@attack("UNIMPLEMENTED")
async def an_unknown_method(target: Target) -> str:
    path = random.choice([f"/{SERVICE}/Nothing", "/a.B/C", "/", f"/{SERVICE}//", "/" + "x" * 2000])
    return await called(target, good(target, path), message(b""))


@attack("HTTP 415")
async def another_content_type(target: Target) -> str:
    head = good(target, content_type=random.choice(["text/html", "application/json", ""]))
    return await called(target, head, message(request("It met.")))


@attack("HTTP 405")
async def a_get(target: Target) -> str:
    head = [(n, "GET" if n == ":method" else v) for n, v in good(target)]
    return await called(target, head, None)


# ---- time ----


@attack("DEADLINE_EXCEEDED", "UNAVAILABLE")
async def an_expired_deadline(target: Target) -> str:
    timeout = random.choice(["0m", "1n", "1u", "1m"])
    return await called(target, good(target, grpc_timeout=timeout), message(request(target.text())))


@attack("OK", "UNAVAILABLE", "INVALID_ARGUMENT", "INTERNAL")
async def a_deadline_that_is_none(target: Target) -> str:
    timeout = random.choice(["", "x", "-1S", "123456789H", "1", "1.5S"])
    return await called(target, good(target, grpc_timeout=timeout), message(request("It met.")))


@attack("DEADLINE_EXCEEDED", "UNAVAILABLE")
async def a_slow_sender(target: Target) -> str:
    """A byte now and then, until the server has had enough."""
    raw = await Raw.open(target.port)
    try:
        await raw.begin()
        body = message(request(target.text()))
        await raw.send(frame(HEADERS, END_HEADERS, 1, block(good(target))))
        answer = asyncio.create_task(raw.outcome(target.patience))
        for byte in body:
            await raw.send(frame(DATA, 0, 1, bytes([byte])))
            if (await asyncio.wait([answer], timeout=0.1))[0]:
                break
        return await answer
    finally:
        await raw.close()


@attack("LEFT", "UNAVAILABLE")
async def a_slow_reader(target: Target) -> str:
    """Reads nothing of a long answer for a while, then leaves."""
    raw = await Raw.open(target.port)
    try:
        await raw.begin(window=random.choice([0, 100, 5000]))
        text = "\n\n".join(target.text() for _ in range(10))
        await raw.call(good(target), message(request(text[:40_000])))
        said = await raw.outcome(random.uniform(1, 6), reads=False)
        return "LEFT" if said == "SILENT" else said
    finally:
        await raw.close(abruptly=random.random() < 0.5)


@attack("SILENT", "UNAVAILABLE", "DEADLINE_EXCEEDED")
async def a_slow_reader_with_a_deadline(target: Target) -> str:
    """Leaves no room for the word that the deadline has passed either, unless it comes with the headers."""
    raw = await Raw.open(target.port)
    try:
        await raw.begin(window=100)
        text = "\n\n".join(target.text() for _ in range(10))
        await raw.call(good(target, grpc_timeout="2S"), message(request(text[:40_000])))
        return await raw.outcome(3, reads=False)
    finally:
        await raw.close()


@attack("SILENT", "CLOSED", "GOAWAY")
async def a_silent_connection(target: Target) -> str:
    raw = await Raw.open(target.port)
    await raw.send(PREFACE[: random.randint(0, len(PREFACE))])
    said = await raw.outcome(random.uniform(0.5, 8))
    await raw.close()
    return said


@attack("LEFT")
async def a_hang_up(target: Target) -> str:
    """At any byte of a call, or some time after it."""
    raw = await Raw.open(target.port)
    path = random.choice([ARTICLE, CORPUS])
    whole = b"".join(
        [
            PREFACE,
            frame(SETTINGS, 0, 0),
            frame(HEADERS, END_HEADERS, 1, block(good(target, path))),
            frame(DATA, random.choice([0, END_STREAM]), 1, message(request(target.text()[:12_000]))),
        ]
    )
    if random.random() < 0.5:
        await raw.send(whole[: random.randint(0, len(whole))])
        await asyncio.sleep(random.choice([0, 0.01, 0.2]))
    else:
        await raw.send(whole)
        await raw.outcome(random.choice([0.0, 0.05, 0.3, 1.0]))
    await raw.close(abruptly=random.random() < 0.5)
    return "LEFT"


@attack("LEFT", "CLOSED")
async def a_reset(target: Target) -> str:
    """Of a call, at any time; the connection stays a while."""
    raw = await Raw.open(target.port)
    await raw.begin()
    await raw.call(good(target), message(request(target.text())))
    await asyncio.sleep(random.choice([0, 0.02, 0.2, 1]))
    await raw.send(frame(RESET, 0, 1, struct.pack(">I", 8)))
    await asyncio.sleep(0.1)
    await raw.close()
    return "LEFT"


@attack("LEFT")
async def many_connections(target: Target) -> str:
    opened = [await Raw.open(target.port) for _ in range(40)]
    for raw in opened:
        await raw.begin()
    await asyncio.sleep(random.uniform(0, 1))
    for raw in opened:
        await raw.close(abruptly=random.random() < 0.5)
    return "LEFT"
