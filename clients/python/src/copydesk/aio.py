"""The client for asyncio: what `copydesk.Client` does, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from contextlib import aclosing
from types import TracebackType
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from copydesk._servers import OPTIONS, SERVICE, SOON, Access, Server, Servers, Way, log_again
from copydesk.answer import (
    Answer,
    Failure,
    Model,
    Restart,
    Sentence,
    Summary,
    to_model,
    to_sentence,
    to_summary,
)
from copydesk.article import Article, to_request
from copydesk.error import CopydeskError, broke_off, not_serving, of_call
from copydesk.v1 import classifier_pb2, classifier_pb2_grpc

class AsyncClient:
    """A client for asyncio, of one server or several; settings and promises are `Client`'s.

        async with AsyncClient("http://127.0.0.1:50051") as client:
            answer = await client.classify("The league met. “We go,” said Ida Brandt.")

    Belongs to the event loop in which it is first used.
    """

    def __init__(
        self,
        *addresses: str,
        root_certificates: bytes | None = None,
        certificate: tuple[bytes, bytes] | None = None,
        token: str | None = None,
        timeout: float = 300.0,
        tries: int = 8,
    ) -> None:
        self._access = Access(root_certificates, certificate, token)
        self._servers = Servers(addresses, self._access)
        self._metadata = self._access.metadata()
        self._timeout, self._tries = timeout, tries
        # Made when they are needed, since a channel belongs to the loop that runs.
        self._channels: dict[Server, grpc.aio.Channel] = {}
        self._closed = False

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections; calls under way are cancelled."""
        self._closed, channels, self._channels = True, self._channels, {}
        for channel in channels.values():
            await channel.close()

    async def classify(
        self,
        article: Article | str,
        *,
        min_confidence: float | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """The whole answer to an article; see `Client.classify`."""
        sentences: list[Sentence] = []
        stream = self.stream(article, min_confidence=min_confidence, timeout=timeout)
        async with aclosing(stream) as events:
            async for event in events:
                match event:
                    case Sentence():
                        sentences.append(event)
                    case Restart():
                        sentences.clear()
                    case Summary():
                        article_id = "" if isinstance(article, str) else article.id
                        return Answer(article_id, tuple(sentences), event)
        raise AssertionError("a stream ends with its summary or raises")

    async def stream(
        self,
        article: Article | str,
        *,
        min_confidence: float | None = None,
        timeout: float | None = None,
    ) -> AsyncGenerator[Sentence | Restart | Summary, None]:
        """The answer as it comes; see `Client.stream`. Close it (`contextlib.aclosing`) if you leave
        early, so that the server stops working on the article."""
        request = to_request(article, min_confidence)
        way = Way(self._servers, self._timeout if timeout is None else timeout, self._tries)
        while True:
            server, pause = way.next()
            await asyncio.sleep(pause)
            came = False
            try:
                async with aclosing(self._once(server, request, way)) as events:
                    async for event in events:
                        came = True
                        yield event
                return
            except CopydeskError as error:
                way.failed(server, error)
                log_again(server, error, request.article.id)
                broken = error
            if came:
                yield Restart(broken)

    async def classify_all(
        self,
        articles: Iterable[Article] | AsyncIterable[Article],
        *,
        min_confidence: float | None = None,
        timeout: float | None = None,
        ahead: int = 16,
    ) -> AsyncGenerator[Answer | Failure, None]:
        """The answers to a corpus, one an article, in order; see `Client.classify_all`.

        `articles` are drawn in a task of their own; an ordinary iterable in the event loop, so one
        that waits should be an asynchronous one. Close it (`contextlib.aclosing`) if you leave early.
        """

        async def answer(article: Article) -> Answer | Failure:
            try:
                return await self.classify(article, min_confidence=min_confidence, timeout=timeout)
            except CopydeskError as error:
                if not error.about_article:
                    raise
                return Failure(article.id, error)

        async def draw() -> None:
            await room.acquire()
            async for article in _aiter(articles):
                under_way.put_nowait(asyncio.create_task(answer(article)))
                await room.acquire()

        # One article for each: under way, or answered and not yet taken.
        room = asyncio.Semaphore(max(ahead, 1))
        # Those under way, and last the drawing itself, which tells what the source raised.
        under_way: asyncio.Queue[asyncio.Task[Answer | Failure] | None] = asyncio.Queue()
        drawing = asyncio.create_task(draw())
        drawing.add_done_callback(lambda _: under_way.put_nowait(None))
        task = None
        try:
            while (task := await under_way.get()) is not None:
                yield await task
                room.release()
            await drawing
        finally:
            rest: list[asyncio.Task[Any]] = [drawing, *([task] if task else [])]
            while not under_way.empty():
                if waiting := under_way.get_nowait():
                    rest.append(waiting)
            for each in rest:
                each.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

    async def model(self) -> Model:
        """The model of the first server that tells; raises a `CopydeskError`."""
        way = Way(self._servers, self._timeout, self._tries)
        while True:
            server, pause = way.next()
            await asyncio.sleep(pause)
            try:
                return await self._ask_model(server, way.left())
            except CopydeskError as error:
                way.failed(server, error)

    async def models(self) -> dict[str, Model]:
        """The model of each server, by its address, asked once; raises a `CopydeskError`."""
        servers = self._servers.all
        return {s.address: await self._ask_model(s, self._timeout) for s in servers}

    async def serving(self) -> dict[str, bool]:
        """Of each server, by its address, whether it is there and its model answers."""
        return {server.address: await self._is_serving(server) for server in self._servers.all}

    def _channel(self, server: Server) -> grpc.aio.Channel:
        if self._closed:
            raise ValueError("the client is closed")
        if server not in self._channels:
            if server.tls:
                credentials = self._access.credentials()
                channel = grpc.aio.secure_channel(server.target, credentials, OPTIONS)
            else:
                channel = grpc.aio.insecure_channel(server.target, OPTIONS)
            self._channels[server] = channel
        return self._channels[server]

    async def _ask_model(self, server: Server, timeout: float) -> Model:
        stub = classifier_pb2_grpc.ClassifierServiceStub(self._channel(server))
        request = classifier_pb2.GetModelRequest()
        try:
            answer = await stub.GetModel(request, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise of_call(error) from None
        return to_model(answer)

    async def _is_serving(self, server: Server) -> bool:
        request = health_pb2.HealthCheckRequest(service=SERVICE)
        stub = health_pb2_grpc.HealthStub(self._channel(server))
        try:
            answer = await stub.Check(request, timeout=min(self._timeout, SOON))
        except grpc.RpcError as error:
            # One that tells nothing of its health may be well.
            return bool(of_call(error).code is grpc.StatusCode.UNIMPLEMENTED)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def _once(
        self, server: Server, request: classifier_pb2.ClassifyArticleRequest, way: Way
    ) -> AsyncGenerator[Sentence | Summary, None]:
        if self._servers.doubtful(server) and not await self._is_serving(server):
            raise not_serving()
        stub = classifier_pb2_grpc.ClassifierServiceStub(self._channel(server))
        call = stub.ClassifyArticle(request, timeout=way.left(), metadata=self._metadata)
        self._servers.began(server)
        summary = None
        try:
            async for message in call:
                self._servers.well(server)
                # Whatever a later version may send beside these is passed over.
                match message.WhichOneof("event"):
                    case "sentence":
                        yield to_sentence(message.sentence)
                    case "summary":
                        # Read on to the end, or the server would take it for a cancelled call.
                        summary = to_summary(message.summary)
        except grpc.RpcError as error:
            if summary is None:
                raise of_call(error) from None
        finally:
            call.cancel()
            self._servers.ended(server)
        if summary is None:
            raise broke_off()
        yield summary


async def _aiter(articles: Iterable[Article] | AsyncIterable[Article]) -> AsyncIterator[Article]:
    if isinstance(articles, AsyncIterable):
        async for article in articles:
            yield article
    else:
        for article in articles:
            yield article
