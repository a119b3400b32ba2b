"""What the client for asyncio gives, against the real server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing

import grpc
import pytest
from conftest import SENTENCE, TEXT, Server

from copydesk import (
    Answer,
    Article,
    AsyncClient,
    Client,
    CopydeskError,
    Failure,
    Party,
    Sentence,
    Summary,
)


async def test_its_answers_are_those_of_the_other_client(server: Server, client: Client) -> None:
    article = Article(TEXT, id="a", headline="Port Ellis", parties=[Party("o", "Oster")])
    async with AsyncClient(server.url) as ours:
        answer = await ours.classify(article)
        assert await ours.model() == client.model()
        assert await ours.models() == client.models()
        assert await ours.serving() == {server.url: True}
    assert answer.sentences == client.classify(article).sentences
    assert answer.article_id == "a"


async def test_sentences_stream_then_the_summary(server: Server) -> None:
    async with AsyncClient(server.url) as client:
        *sentences, summary = [event async for event in client.stream(TEXT)]
        assert [s.index for s in sentences if isinstance(s, Sentence)] == [0, 1, 2]
        assert isinstance(summary, Summary)
        async with aclosing(client.stream(SENTENCE * 5_000)) as stream:
            assert isinstance(await anext(stream), Sentence)


async def test_a_bad_article_costs_only_itself(server: Server) -> None:
    articles = [Article("One. Two.", id="a"), Article("  ", id="b"), Article("Four.", id="c")]
    async with AsyncClient(server.url) as client:
        outcomes = [outcome async for outcome in client.classify_all(articles)]
        assert [o.article_id for o in outcomes] == ["a", "b", "c"]
        assert [type(o) for o in outcomes] == [Answer, Failure, Answer]
        assert [o async for o in client.classify_all([])] == []


async def test_what_is_wrong_is_raised(server: Server) -> None:
    async with AsyncClient(server.url) as client:
        with pytest.raises(CopydeskError) as caught:
            await client.classify(Article("A.", parties=[Party("a", "A"), Party("a", "B")]))
        error = caught.value
        assert (error.reason, error.field) == ("DUPLICATE_PARTY_ID", "parties[1].id")
        with pytest.raises(ValueError):
            AsyncClient("127.0.0.1:50051")


async def test_a_deadline_passes(start: Callable[..., Server]) -> None:
    async with AsyncClient(start().url) as client:
        with pytest.raises(CopydeskError) as caught:
            await client.classify(SENTENCE * 10_000, timeout=0.3)
        assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_an_endless_corpus_is_drawn_from_as_it_is_answered(server: Server) -> None:
    drawn = 0

    def endless() -> Iterator[Article]:
        nonlocal drawn
        while True:
            drawn += 1
            yield Article("One. Two.", id=f"a{drawn}")

    async with AsyncClient(server.url) as client:
        async with aclosing(client.classify_all(endless(), ahead=4)) as outcomes:
            for number in range(1, 21):
                assert (await anext(outcomes)).article_id == f"a{number}"
                assert drawn <= number + 4


async def test_a_source_may_wait_and_may_raise(server: Server) -> None:
    go_on = asyncio.Event()

    async def slow() -> AsyncIterator[Article]:
        yield Article("One.", id="a")
        await go_on.wait()
        yield Article("Two.", id="b")
        raise KeyError("the archive is gone")

    async with AsyncClient(server.url) as client:
        async with aclosing(client.classify_all(slow())) as outcomes:
            assert (await anext(outcomes)).article_id == "a"
            go_on.set()
            assert (await anext(outcomes)).article_id == "b"
            with pytest.raises(KeyError):
                await anext(outcomes)


async def test_whoever_leaves_a_corpus_leaves_nothing_behind(server: Server) -> None:
    async with AsyncClient(server.url, timeout=120) as client:
        articles = [Article(SENTENCE * (1 if n == 0 else 9_000), id=f"a{n}") for n in range(8)]
        before = asyncio.all_tasks()
        async with aclosing(client.classify_all(articles)) as outcomes:
            await anext(outcomes)
            began = time.monotonic()
        assert time.monotonic() - began < 5, "it waits for articles that nobody wants"
        while asyncio.all_tasks() - before:  # gRPC ends its own a little later.
            assert time.monotonic() - began < 20
            await asyncio.sleep(0.02)
        (only,) = client._servers.all
        assert (only.in_flight, only.failed) == (0, False)


async def test_a_task_may_be_cancelled(server: Server) -> None:
    async with AsyncClient(server.url) as client:
        task = asyncio.create_task(client.classify(SENTENCE * 9_000))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        (only,) = client._servers.all
        assert (only.in_flight, only.failed) == (0, False)


async def test_a_closed_client_is_told(server: Server) -> None:
    async with AsyncClient(server.url) as client:
        await client.classify("One.")
    with pytest.raises(ValueError):
        await client.classify("One.")
    threads = Client(server.url)
    threads.close()
    with pytest.raises(ValueError):
        threads.classify("One.")
    assert threads._servers.all[0].in_flight == 0
