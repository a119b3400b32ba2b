"""Servers that have no room, are killed, stop, or are not there: every article is answered exactly
once, by both clients."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, closing
from typing import Any

import grpc
import pytest
from conftest import SENTENCE, Later, Server

from copydesk import (
    Answer,
    Article,
    AsyncClient,
    Client,
    CopydeskError,
    Failure,
    Restart,
    Sentence,
    Summary,
)

Start = Callable[..., Server]
COUNT = 30


def length(number: int) -> int:
    """Sentences of an article, so that an answer that belongs to another one shows."""
    return 6 + number % 7


def corpus(count: int) -> Iterator[Article]:
    for number in range(count):
        yield Article(SENTENCE * length(number), id=f"a{number}")


def assert_each_once(outcomes: list[Answer | Failure], count: int = COUNT) -> None:
    assert [o.article_id for o in outcomes] == [f"a{n}" for n in range(count)]
    for number, outcome in enumerate(outcomes):
        assert isinstance(outcome, Answer), outcome
        assert [s.index for s in outcome.sentences] == list(range(length(number)))
        assert outcome.summary.sentence_count == length(number)


def sync_corpus(
    client: Client, take: Callable[[int], None], count: int = COUNT
) -> list[Answer | Failure]:
    outcomes = []
    with closing(client.classify_all(corpus(count), ahead=8)) as stream:
        for outcome in stream:
            outcomes.append(outcome)
            take(len(outcomes))
    return outcomes


async def async_corpus(
    client: AsyncClient, take: Callable[[int], None], count: int
) -> list[Answer | Failure]:
    outcomes = []
    async with aclosing(client.classify_all(corpus(count), ahead=8)) as stream:
        async for outcome in stream:
            outcomes.append(outcome)
            await asyncio.to_thread(take, len(outcomes))
    return outcomes


def run(
    kind: str, servers: list[Server], take: Callable[[int], None], count: int = COUNT
) -> list[Answer | Failure]:
    """Reads the corpus with one of the two clients; `take` is told how many are answered."""
    urls = [server.url for server in servers]
    if kind == "sync":
        with Client(*urls, timeout=120) as client:
            return sync_corpus(client, take, count)

    async def answers() -> list[Answer | Failure]:
        async with AsyncClient(*urls, timeout=120) as client:
            return await async_corpus(client, take, count)

    return asyncio.run(answers())


both = pytest.mark.parametrize("kind", ["sync", "async"])


@both
def test_a_server_that_is_killed_and_restarted(
    kind: str, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    server = start()

    def take(answered: int) -> None:
        if answered in (5, 17):
            server.restart(signal.SIGKILL)

    assert_each_once(run(kind, [server], take))
    assert "is sent again" in caplog.text


@both
def test_two_servers_killed_in_turn(
    kind: str, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = servers = [start(), start()]

    def take(answered: int) -> None:
        match answered:
            case 5:
                first.stop(signal.SIGKILL)
            case 11:
                first.start()
            case 18:
                second.stop(signal.SIGKILL)
            case 26:
                second.start()

    assert_each_once(run(kind, servers, take))
    for server in servers:
        assert server.url in caplog.text, "articles were sent again from both"


@both
def test_a_server_that_stops_hands_over_to_the_other(kind: str, start: Start) -> None:
    servers = [start(), start()]
    stopping: list[Later] = []

    def take(answered: int) -> None:
        if answered == 5:
            stopping.append(Later(servers[0].stop, signal.SIGTERM))

    assert_each_once(run(kind, servers, take))
    assert stopping[0].result() == 0
    servers[0].start()


@both
def test_a_server_is_not_there_at_first(kind: str, start: Start) -> None:
    server = start()
    server.stop()

    def come() -> None:
        time.sleep(1.5)
        server.start()

    coming = Later(come)
    assert_each_once(run(kind, [server], lambda _: None))
    coming.result()


def test_both_servers_are_used(start: Start) -> None:
    servers = [start(), start()]
    with Client(*(server.url for server in servers), timeout=120) as client:
        most = [0, 0]

        def take(_: int) -> None:
            for number, server in enumerate(client._servers.all):
                most[number] = max(most[number], server.in_flight)

        assert_each_once(sync_corpus(client, take))
    assert min(most) >= 2, f"{most} articles at a time"


def test_one_of_two_is_never_there(start: Start) -> None:
    with Client("http://127.0.0.1:1", start().url, timeout=60) as client:
        assert_each_once(sync_corpus(client, lambda _: None))
        assert client.model().identity.revision == "fixture"


def events_of_a_killed_stream(kind: str, server: Server, article: str) -> list[Any]:
    """Kills the server after the first sentence, and starts another in its place."""
    if kind == "sync":
        with Client(server.url, timeout=120) as client:
            events: list[Any] = []
            for event in client.stream(article):
                events.append(event)
                if len(events) == 1:
                    server.restart(signal.SIGKILL)
            return events

    async def ask() -> list[Any]:
        async with AsyncClient(server.url, timeout=120) as client:
            events: list[Any] = []
            async for event in client.stream(article):
                events.append(event)
                if len(events) == 1:
                    await asyncio.to_thread(server.restart, signal.SIGKILL)
            return events

    return asyncio.run(ask())


@both
def test_an_answer_that_breaks_off_begins_anew(kind: str, start: Start) -> None:
    events = events_of_a_killed_stream(kind, start(), SENTENCE * 300)
    restarts = [n for n, event in enumerate(events) if isinstance(event, Restart)]
    assert restarts and events[restarts[0]].error.code is not grpc.StatusCode.OK
    whole = events[restarts[-1] + 1 :]
    assert [e.index for e in whole if isinstance(e, Sentence)] == list(range(300))
    assert isinstance(whole[-1], Summary) and len(whole) == 301


def test_a_server_that_is_gone_is_told() -> None:
    with Client("http://127.0.0.1:1", tries=2) as client:
        asks: list[Callable[[], object]] = [
            client.model,
            lambda: client.classify("One."),
            lambda: list(client.classify_all([Article("One.", id="a")])),
        ]
        for ask in asks:
            began = time.monotonic()
            with pytest.raises(CopydeskError) as caught:
                ask()
            assert caught.value.code is grpc.StatusCode.UNAVAILABLE
            assert time.monotonic() - began < 10


async def test_a_server_that_is_gone_is_told_to_asyncio() -> None:
    async with AsyncClient("http://127.0.0.1:1", tries=2) as client:
        with pytest.raises(CopydeskError) as caught:
            await client.model()
        assert caught.value.code is grpc.StatusCode.UNAVAILABLE

        async def articles() -> AsyncIterator[Article]:
            yield Article("One.", id="a")

        with pytest.raises(CopydeskError):
            async for _ in client.classify_all(articles()):
                pass


def test_the_deadline_holds_over_all_tries() -> None:
    with Client("http://127.0.0.1:1", timeout=1.0, tries=100) as client:
        began = time.monotonic()
        with pytest.raises(CopydeskError):
            client.classify("One.")
        assert time.monotonic() - began < 6


@both
def test_a_full_queue_is_waited_out(
    kind: str, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    # Room for two or three articles; eight are sent at a time.
    caplog.set_level(logging.INFO, "copydesk")
    server = start("--max-queue-tokens", "512", "--workers", "1")
    assert_each_once(run(kind, [server], lambda _: None, 12), 12)
    assert "the queue is full" in caplog.text, "the queue was never full"


def test_a_full_queue_is_told_with_when_to_come_back(start: Start) -> None:
    # Far more than one worker reads in two seconds, all at once: whoever is given a slot after that is
    # told of the full queue at once, since waiting for it would outlive the deadline.
    server = start("--max-queue-tokens", "512", "--workers", "1")
    errors: list[CopydeskError] = []
    with Client(server.url, timeout=2.0) as client:

        def ask() -> None:
            try:
                client.classify(SENTENCE * 2000)
            except CopydeskError as error:
                errors.append(error)

        asking = [Later(ask) for _ in range(60)]
        for one in asking:
            one.result()
    refused = [e for e in errors if e.code is grpc.StatusCode.UNAVAILABLE]
    assert refused, errors
    assert {e.reason for e in refused} == {"QUEUE_FULL"}
    assert all((e.retry_after or 0) > 0 for e in refused)


def test_many_threads_share_a_client(start: Start) -> None:
    server = start()
    counts: list[int] = []
    with Client(server.url, timeout=120) as client:

        def ask(number: int) -> None:
            counts.append(len(client.classify(SENTENCE * (1 + number)).sentences))

        asking = [Later(ask, number) for number in range(24)]
        server.restart(signal.SIGKILL)
        for one in asking:
            one.result()
    assert sorted(counts) == list(range(1, 25))
    assert not [t for t in threading.enumerate() if t.name.startswith("copydesk")]
