"""The client for threads; `copydesk.AsyncClient` is the one for asyncio."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from types import TracebackType
from typing import Any

import grpc
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

class Client:
    """A client of one server or several, which have the same model; connects with the first call.

        with Client("http://127.0.0.1:50051") as client:
            answer = client.classify("The league met. “We go,” said Ida Brandt.")

    `addresses` are http://host:port, or https://host:port for TLS; none means
    http://127.0.0.1:50051. `root_certificates` (PEM) then stands in for the authorities that gRPC
    trusts, and `certificate` (PEM, with its key) is shown to a server that asks for one. `token` is
    what lets the client in where a server asks for that; it goes over TLS or stays on this machine.

    `timeout` is in seconds, for one article with all its tries. Each article goes to the server with
    the fewest under way. One whose answer breaks off, or that finds no server, is sent again, to
    another server or later; one that finds no room, when the server said, or elsewhere. It is given
    up after `tries` for each server, those without room not counted.

    Settings that make no sense are a ValueError. A client may be used by several threads at once.
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
        access = Access(root_certificates, certificate, token)
        self._servers = Servers(addresses, access)
        self._metadata = access.metadata()
        self._timeout, self._tries = timeout, tries
        self._stubs = {server: _Stubs(_channel(server, access)) for server in self._servers.all}

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections; calls under way are cancelled, and later ones a ValueError."""
        for stubs in self._stubs.values():
            stubs.channel.close()

    def classify(
        self,
        article: Article | str,
        *,
        min_confidence: float | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """The whole answer to an article, or to its text alone.

        With `min_confidence`, types and sentiments whose best score is lower are unspecified.
        `timeout` holds for this article. Raises a `CopydeskError`.
        """
        return _whole(article, self._events(article, min_confidence, timeout, _Calls()))

    def stream(
        self,
        article: Article | str,
        *,
        min_confidence: float | None = None,
        timeout: float | None = None,
    ) -> Generator[Sentence | Restart | Summary, None, None]:
        """The answer as it comes: its sentences in order, then its summary.

        If it breaks off, the article is sent again and a `Restart` comes before the new answer.
        Whoever has seen enough closes the generator, and the server stops working on the article.
        The timeout goes on while the caller looks at a sentence.
        """
        return self._events(article, min_confidence, timeout, _Calls())

    def classify_all(
        self,
        articles: Iterable[Article],
        *,
        min_confidence: float | None = None,
        timeout: float | None = None,
        ahead: int = 16,
    ) -> Generator[Answer | Failure, None, None]:
        """The answers to a corpus, one an article, in order.

        An article that cannot be answered comes back as a `Failure`, and the rest goes on. What is
        no article's own, as when no server is there or the token is unknown, is raised.

        At most `ahead` articles are under way or wait to be taken, so `articles` may be endless; it
        is drawn from in another thread, and what it raises is raised here after the answers to what
        it gave.
        """

        def answer(article: Article) -> Answer | Failure:
            try:
                return _whole(article, self._events(article, min_confidence, timeout, calls))
            except CopydeskError as error:
                if not error.about_article:
                    raise
                return Failure(article.id, error)

        calls = _Calls()
        corpus = _Corpus(articles, max(ahead, 1), answer)
        try:
            while (outcome := corpus.next()) is not None:
                yield outcome
        finally:
            calls.end()
            corpus.close()

    def model(self) -> Model:
        """The model of the first server that tells; raises a `CopydeskError`."""
        request = classifier_pb2.GetModelRequest()
        way = Way(self._servers, self._timeout, self._tries)
        calls = _Calls()
        while True:
            server, pause = way.next()
            calls.pause(pause)
            try:
                return self._ask_model(server, request, way.left())
            except CopydeskError as error:
                way.failed(server, error)

    def models(self) -> dict[str, Model]:
        """The model of each server, by its address, asked once; raises a `CopydeskError`."""
        request = classifier_pb2.GetModelRequest()
        servers = self._servers.all
        return {s.address: self._ask_model(s, request, self._timeout) for s in servers}

    def serving(self) -> dict[str, bool]:
        """Of each server, by its address, whether it is there and its model answers."""
        return {server.address: self._is_serving(server) for server in self._servers.all}

    def _ask_model(
        self, server: Server, request: classifier_pb2.GetModelRequest, timeout: float
    ) -> Model:
        service = self._stubs[server].service
        try:
            return to_model(service.GetModel(request, timeout=timeout, metadata=self._metadata))
        except grpc.RpcError as error:
            raise of_call(error) from None

    def _is_serving(self, server: Server) -> bool:
        request = health_pb2.HealthCheckRequest(service=SERVICE)
        health = self._stubs[server].health
        try:
            status = health.Check(request, timeout=min(self._timeout, SOON)).status
        except grpc.RpcError as error:
            # One that tells nothing of its health may be well.
            return bool(of_call(error).code is grpc.StatusCode.UNIMPLEMENTED)
        return bool(status == health_pb2.HealthCheckResponse.SERVING)

    def _events(
        self,
        article: Article | str,
        min_confidence: float | None,
        timeout: float | None,
        calls: _Calls,
    ) -> Generator[Sentence | Restart | Summary, None, None]:
        request = to_request(article, min_confidence)
        way = Way(self._servers, self._timeout if timeout is None else timeout, self._tries)
        while True:
            server, pause = way.next()
            calls.pause(pause)
            came = False
            try:
                with closing(self._once(server, request, way, calls)) as events:
                    for event in events:
                        came = True
                        yield event
                return
            except CopydeskError as error:
                way.failed(server, error)
                log_again(server, error, request.article.id)
                broken = error
            if came:
                yield Restart(broken)

    def _once(
        self,
        server: Server,
        request: classifier_pb2.ClassifyArticleRequest,
        way: Way,
        calls: _Calls,
    ) -> Generator[Sentence | Summary, None, None]:
        if self._servers.doubtful(server) and not self._is_serving(server):
            raise not_serving()
        service = self._stubs[server].service
        call = service.ClassifyArticle(request, timeout=way.left(), metadata=self._metadata)
        self._servers.began(server)
        summary = None
        try:
            calls.add(call)
            for message in call:
                self._servers.well(server)
                # Whatever a later version may send beside these is passed over.
                match message.WhichOneof("event"):
                    case "sentence":
                        yield to_sentence(message.sentence)
                    case "summary":
                        # Read on to the end, or the server would take it for a cancelled call.
                        summary = to_summary(message.summary)
        except grpc.RpcError as error:
            calls.check()
            if summary is None:
                raise of_call(error) from None
        finally:
            call.cancel()
            calls.remove(call)
            self._servers.ended(server)
        if summary is None:
            raise broke_off()
        yield summary


class _Stubs:
    """Made with the channel, since gRPC crashes over a stub of a channel that is closed already."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        self.service = classifier_pb2_grpc.ClassifierServiceStub(channel)
        self.health = health_pb2_grpc.HealthStub(channel)


def _channel(server: Server, access: Access) -> grpc.Channel:
    if server.tls:
        return grpc.secure_channel(server.target, access.credentials(), OPTIONS)
    return grpc.insecure_channel(server.target, OPTIONS)


def _whole(
    article: Article | str, events: Iterable[Sentence | Restart | Summary]
) -> Answer:
    sentences: list[Sentence] = []
    for event in events:
        match event:
            case Sentence():
                sentences.append(event)
            case Restart():
                sentences.clear()
            case Summary():
                article_id = "" if isinstance(article, str) else article.id
                return Answer(article_id, tuple(sentences), event)
    raise AssertionError("a stream ends with its summary or raises")


class _Calls:
    """The calls and pauses of one request of the caller's, who may leave in the midst of them."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._calls: set[Any] = set()

    def add(self, call: Any) -> None:
        with self._lock:
            self._calls.add(call)
        if self._over.is_set():
            call.cancel()

    def remove(self, call: Any) -> None:
        with self._lock:
            self._calls.discard(call)

    def pause(self, seconds: float) -> None:
        """Waits; raises if the caller has left."""
        self._over.wait(seconds)
        self.check()

    def check(self) -> None:
        """Raises if the caller has left."""
        if self._over.is_set():
            raise _Left

    def end(self) -> None:
        """The caller has left: calls are cancelled, pauses end."""
        self._over.set()
        with self._lock:
            calls = list(self._calls)
        for call in calls:
            call.cancel()


class _Left(Exception):
    """Nobody waits for this any more."""


class _Corpus:
    """Articles on their way through a pool of threads. One more thread draws them, since a source
    that waits must hold up no answer."""

    def __init__(
        self, source: Iterable[Article], ahead: int, answer: Callable[[Article], Answer | Failure]
    ) -> None:
        self._source, self._answer = source, answer
        # One article for each: under way, or answered and not yet taken.
        self._room = threading.Semaphore(ahead)
        self._outcomes: queue.SimpleQueue[Future[Answer | Failure] | None] = queue.SimpleQueue()
        self._pool = ThreadPoolExecutor(ahead, thread_name_prefix="copydesk")
        self._closed = False
        self._taken = False
        threading.Thread(target=self._draw, name="copydesk-draw", daemon=True).start()

    def next(self) -> Answer | Failure | None:
        """The next outcome, or None after the last."""
        if self._taken:
            self._room.release()
        self._taken = True
        future = self._outcomes.get()
        return None if future is None else future.result()

    def close(self) -> None:
        """Ends the threads. The one that draws ends when its source gives something or ends."""
        self._closed = True
        self._room.release()
        self._pool.shutdown(cancel_futures=True)

    def _draw(self) -> None:
        try:
            self._room.acquire()
            for article in self._source:
                if self._closed:
                    return
                self._outcomes.put(self._pool.submit(self._answer, article))
                self._room.acquire()
                if self._closed:
                    return
        except BaseException as error:  # Raised where the answers are read.
            failed: Future[Answer | Failure] = Future()
            failed.set_exception(error)
            self._outcomes.put(failed)
        self._outcomes.put(None)
