"""A client of copydesk that any Python service can start from.

    with Client("http://127.0.0.1:50051") as client:
        answer = client.classify(Article(text="The league met. “We go,” said Ida Brandt."))
        for sentence in answer.sentences:
            print(SentenceType.Name(sentence.type), sentence.text)

Copy this file, `service_config.json` and the stubs that `generate.sh` makes. Requests and answers
are the contract's own messages, described in `proto/copydesk/v1`. Python strings are indexed by
`span.code_point_start` and `span.code_point_end`.

What the client sees to: every call has a deadline; gRPC itself tries again, by the service config,
when the queue is full; and when an answer breaks off before its summary, which nothing else would
repair, its sentences are dropped and the article is sent again.

A client may be used by several threads at once.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from copydesk.v1 import classifier_pb2, classifier_pb2_grpc
from copydesk.v1.answer_pb2 import (
    Quotation,
    QuotationKind,
    Sentence,
    SentenceType,
    Sentiment,
    Summary,
)
from copydesk.v1.article_pb2 import (
    Article,
    ClassifyOptions,
    OffsetRange,
    Party,
    PartyList,
    PartySpan,
    SentenceList,
)

__all__ = [
    "Answer", "Article", "ClassifyOptions", "Client", "CopydeskError", "Failure", "OffsetRange",
    "Party", "PartyList", "PartySpan", "Quotation", "QuotationKind", "Restart", "Sentence",
    "SentenceList", "SentenceType", "Sentiment", "Summary",
]  # fmt: skip

SERVICE = "copydesk.v1.ClassifierService"

# When gRPC tries again by itself. Stock clients do so only if they are given such a file.
SERVICE_CONFIG = Path(__file__).resolve().parent.parent / "service_config.json"

# Above any answer: the summary of the largest article names each of its mentions.
ANSWER_BYTES = 64 << 20

# What gRPC keeps of a request so that it can send it again; above `Limits.request_bytes`.
RETRY_BYTES = 16 << 20

# Where nobody is on the way who could read a token.
LOOPBACK = ("localhost", "127.0.0.1", "::1")

# Seconds between two tries, at most, unless the server asks for more.
LONGEST_PAUSE = 5.0

log = logging.getLogger("copydesk")


class CopydeskError(Exception):
    """Why a call or an article failed."""

    code: grpc.StatusCode
    message: str
    # Name of an `ErrorReason` ("QUEUE_FULL"); empty if the error is the transport's own.
    reason: str
    # What of the article is wrong ("parties[2].spans[0]"), if the code is INVALID_ARGUMENT.
    field: str | None
    # Seconds after which the server asks to try again.
    retry_after: float | None

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code, self.message = code, message
        self.reason, self.field, self.retry_after = "", None, None

    @classmethod
    def of_status(cls, status: status_pb2.Status) -> CopydeskError:
        """Reads the details that the server sends along."""
        code = next((c for c in grpc.StatusCode if c.value[0] == status.code), None)
        error = cls(code or grpc.StatusCode.UNKNOWN, status.message)
        info = error_details_pb2.ErrorInfo()
        bad = error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        for detail in status.details:
            if detail.Unpack(info) and info.domain == "copydesk":
                error.reason = info.reason
            elif detail.Unpack(bad) and bad.field_violations:
                error.field = bad.field_violations[0].field
            elif detail.Unpack(retry):
                error.retry_after = retry.retry_delay.ToTimedelta().total_seconds()
        return error

    @classmethod
    def of_call(cls, call: Any) -> CopydeskError:
        """Reads an error as gRPC raises it: a `grpc.RpcError` that is also the call that failed."""
        status = rpc_status.from_call(call)
        return cls.of_status(status) if status else cls(call.code(), call.details() or "")

    @property
    def worth_another(self) -> bool:
        """No room, a server that went away, a connection that broke: another try may go well."""
        # A connection that breaks may show as these too, and then without a reason of copydesk's.
        broke = self.code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)
        return self.code is grpc.StatusCode.UNAVAILABLE or (broke and not self.reason)


@dataclass(frozen=True)
class Answer:
    """The whole answer to an article."""

    article_id: str
    sentences: list[Sentence]
    summary: Summary


@dataclass(frozen=True)
class Failure:
    """An article of a corpus that has no answer."""

    article_id: str
    error: CopydeskError


@dataclass(frozen=True)
class Restart:
    """The answer broke off and begins anew: drop the sentences that came before."""


class Client:
    """A client of one server; connects with the first call.

    `url` is http://host:port, or https://host:port for TLS; `root_certificates` (PEM) then stands
    in for the authorities that gRPC trusts, and `certificate` (PEM, with its key) is shown to a
    server that asks for one. `token` is what lets the client in where the server asks for that; it
    goes over TLS or stays on this machine. `timeout` is in seconds: for one article, all tries
    together; of `classify_all`, for one stream. `tries` without any progress are made at most.
    `service_config` is the JSON by which gRPC itself tries again, or None for none.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:50051",
        *,
        root_certificates: bytes | None = None,
        certificate: tuple[bytes, bytes] | None = None,
        token: str | None = None,
        timeout: float = 300.0,
        tries: int = 6,
        service_config: Path | None = SERVICE_CONFIG,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no address of a server; use http://host:port")
        tls = parts.scheme == "https"
        if token and not tls and parts.hostname not in LOOPBACK:
            raise ValueError(f"{url!r} is plain text, where everyone on the way could read the token")
        target = parts.netloc if parts.port else f"{parts.netloc}:{443 if tls else 80}"
        options: list[tuple[str, Any]] = [
            ("grpc.max_receive_message_length", ANSWER_BYTES),
            ("grpc.per_rpc_retry_buffer_size", RETRY_BYTES),
            # A peer that has vanished is noticed, and one that is back is found soon.
            ("grpc.keepalive_time_ms", 30_000),
            ("grpc.keepalive_timeout_ms", 10_000),
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.min_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 5_000),
        ]
        if service_config:
            options.append(("grpc.service_config", service_config.read_text(encoding="utf-8")))
        if tls:
            chain, key = certificate or (None, None)
            credentials = grpc.ssl_channel_credentials(root_certificates, key, chain)
            self._channel = grpc.secure_channel(target, credentials, options)
        else:
            self._channel = grpc.insecure_channel(target, options)
        self._service = classifier_pb2_grpc.ClassifierServiceStub(self._channel)
        self._health = health_pb2_grpc.HealthStub(self._channel)
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._timeout = timeout
        self._tries = tries

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
        """Closes the connection; calls under way are cancelled."""
        self._channel.close()

    def serving(self) -> bool:
        """Whether the server is there, and its model answers."""
        request = health_pb2.HealthCheckRequest(service=SERVICE)
        try:
            status = self._health.Check(request, timeout=min(self._timeout, 5.0)).status
        except grpc.RpcError:
            return False
        return bool(status == health_pb2.HealthCheckResponse.SERVING)

    def model(self) -> classifier_pb2.GetModelResponse:
        """The model that answers, its limits, and the server's build."""
        request = classifier_pb2.GetModelRequest()
        try:
            answer: classifier_pb2.GetModelResponse
            answer = self._service.GetModel(
                request, timeout=self._timeout, metadata=self._metadata
            )
        except grpc.RpcError as error:
            raise CopydeskError.of_call(error) from None
        return answer

    def classify(self, article: Article, options: ClassifyOptions | None = None) -> Answer:
        """The whole answer to an article, or a `CopydeskError`."""
        sentences: list[Sentence] = []
        for event in self.stream(article, options):
            match event:
                case Sentence():
                    sentences.append(event)
                case Restart():
                    sentences.clear()
                case Summary():
                    return Answer(article.id, sentences, event)
        raise AssertionError("a stream ends with its summary or raises")

    def stream(
        self, article: Article, options: ClassifyOptions | None = None
    ) -> Generator[Sentence | Restart | Summary, None, None]:
        """The answer as it comes: its sentences in order, then its summary.

        If it breaks off, the article is sent again and a `Restart` comes before the new answer.
        Whoever has seen enough closes it, and the server stops working on it.
        """
        request = classifier_pb2.ClassifyArticleRequest(article=article, options=options)
        end = time.monotonic() + self._timeout
        tries = _Tries(self._tries, end)
        while True:
            left = max(end - time.monotonic(), 0.0)
            call = self._service.ClassifyArticle(request, timeout=left, metadata=self._metadata)
            try:
                for message in call:
                    # Whatever a later version may send beside these is passed over.
                    match message.WhichOneof("event"):
                        case "sentence":
                            yield message.sentence
                        case "summary":
                            yield message.summary
                            return
                error = _broke_off()
            except grpc.RpcError as broken:
                error = CopydeskError.of_call(broken)
            finally:
                call.cancel()
            tries.pause(error)
            log.warning("article %r is sent again after %s", article.id, error)
            yield Restart()

    def classify_all(
        self,
        articles: Iterable[Article],
        options: ClassifyOptions | None = None,
        ahead: int = 16,
    ) -> Generator[Answer | Failure, None, None]:
        """Answers a corpus, in order. Each article needs an id of its own.

        An article that cannot be answered comes back as a `Failure`, and the rest goes on. At most
        `ahead` articles are under way, so `articles` may be endless; it is drawn from in another
        thread. When the stream breaks, what has no answer yet is sent again on a new one; so it is
        when `timeout` passes, as long as articles were answered within it.
        """
        corpus = _Corpus(articles, ahead)
        tries = _Tries(self._tries)
        try:
            while not corpus.finished():
                requests = (
                    classifier_pb2.ClassifyArticlesRequest(article=article, options=options)
                    for article in corpus.unanswered()
                )
                call = self._service.ClassifyArticles(
                    requests, timeout=self._timeout, metadata=self._metadata
                )
                sentences: list[Sentence] = []
                progress = False
                try:
                    for message in call:
                        outcome: Answer | Failure
                        match message.WhichOneof("event"):
                            case "sentence":
                                sentences.append(message.sentence)
                                continue
                            case "summary":
                                outcome = Answer(corpus.answered(), sentences, message.summary)
                            case "error":
                                error = CopydeskError.of_status(message.error)
                                outcome = Failure(corpus.answered(), error)
                            case _:
                                continue
                        sentences, progress = [], True
                        tries.progress()
                        yield outcome
                    error = _broke_off()
                except grpc.RpcError as broken:
                    error = CopydeskError.of_call(broken)
                finally:
                    call.cancel()
                if corpus.idle():
                    continue
                if error.code is grpc.StatusCode.OUT_OF_RANGE:
                    # A request too large for the server to read. It reads an article after it has
                    # answered those before, so this is the first without an answer.
                    yield Failure(corpus.answered(), error)
                elif not (error.code is grpc.StatusCode.DEADLINE_EXCEEDED and progress):
                    tries.pause(error)
                log.warning("what has no answer yet is sent again after %s", error)
        finally:
            corpus.close()


def _broke_off() -> CopydeskError:
    return CopydeskError(grpc.StatusCode.UNAVAILABLE, "the answer broke off before its end")


class _Tries:
    """How often something is tried again, and when."""

    def __init__(self, most: int, end: float = float("inf")) -> None:
        self._most, self._end = most, end
        self.progress()

    def progress(self) -> None:
        """What comes next starts from the beginning."""
        self._left, self._wait = self._most - 1, 0.2

    def pause(self, error: CopydeskError) -> None:
        """Waits for the next try; raises the error if there is to be none."""
        # What the server asks for is a slot of our own: there is nobody to keep clear of.
        wait = error.retry_after or min(self._wait, LONGEST_PAUSE) * random.uniform(0.8, 1.2)
        if self._left <= 0 or not error.worth_another or time.monotonic() + wait >= self._end:
            raise error from None
        # Whoever is given a slot is in a queue, and goes on until the timeout.
        if not error.retry_after:
            self._left, self._wait = self._left - 1, self._wait * 2
        time.sleep(wait)


class _Corpus:
    """The articles of a corpus; each is drawn once and kept until it is answered.

    gRPC draws requests in a thread of its own, one for each stream. That of a stream which broke
    may still be waiting in the source when the next stream starts. So articles are drawn by one
    thread at a time, and one that is drawn too late for its stream is there for the next.
    """

    def __init__(self, source: Iterable[Article], ahead: int) -> None:
        self._source = iter(source)
        self._ahead = max(ahead, 1)
        self._drawing = threading.Lock()
        self._changed = threading.Condition()  # Guards what follows.
        self._stream = 0
        self._unanswered: deque[Article] = deque()
        self._answered = 0  # So this is the number of the first unanswered article.
        self._ended = False
        self._problem: BaseException | None = None

    def finished(self) -> bool:
        """Ends the stream; waits for an article without an answer, and tells whether there is none
        to come. Raises what the source raised, once all that it gave is answered."""
        self.close()
        if self._get(self._stream, self._answered) is not None:
            return False
        if self._problem:
            raise self._problem
        return True

    def unanswered(self) -> Iterator[Article]:
        """For a new stream: the articles without an answer, then what comes."""
        return self._articles(self._stream, self._answered)

    def answered(self) -> str:
        """The first unanswered article has been answered; its id."""
        with self._changed:
            self._answered += 1
            self._changed.notify_all()
            return self._unanswered.popleft().id

    def idle(self) -> bool:
        """Whether all that was drawn is answered."""
        with self._changed:
            return not self._unanswered

    def close(self) -> None:
        """Ends the stream: it gets no more articles."""
        with self._changed:
            self._stream += 1
            self._changed.notify_all()

    def _articles(self, stream: int, number: int) -> Iterator[Article]:
        while (article := self._get(stream, number)) is not None:
            yield article
            number += 1

    def _get(self, stream: int, number: int) -> Article | None:
        """The article of that number, or None if the stream gets no more."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: stream != self._stream or self._ready(number))
                if stream != self._stream:
                    return None
                if number < self._drawn():
                    return self._unanswered[number - self._answered]
                if self._ended:
                    return None
            with self._drawing:
                # Another stream may have drawn it in the meantime.
                with self._changed:
                    if not self._ready(number) or number < self._drawn() or self._ended:
                        continue
                self._draw()

    def _drawn(self) -> int:
        return self._answered + len(self._unanswered)

    def _ready(self, number: int) -> bool:
        return number < self._drawn() or self._ended or len(self._unanswered) < self._ahead

    def _draw(self) -> None:
        article, problem = None, None
        try:
            article = next(self._source, None)
        except BaseException as error:  # Raised where the answers are read, not in gRPC's thread.
            problem = error
        with self._changed:
            if article is None:
                self._ended, self._problem = True, problem
            else:
                self._unanswered.append(article)
            self._changed.notify_all()
