"""The client against the real server: python -m unittest.

COPYDESK_BIN names the server's binary; otherwise it is looked for where cargo puts it. The tiny
model of the Rust tests answers: its labels are nonsense, but shapes, places and errors are right.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc

import classify
import reflection
from copydesk.v1 import classifier_pb2, classifier_pb2_grpc
from copydesk_client import (
    SERVICE_CONFIG,
    Answer,
    Article,
    ClassifyOptions,
    Client,
    CopydeskError,
    Failure,
    Party,
    PartyList,
    Restart,
    Sentence,
    SentenceType,
    Summary,
)

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TEXT = "The league met in Port Ellis 🦊. “We go,” said Ida Brandt.\n\nOster 🦊🦊 blamed Norland."
LONG = "The league met in Port Ellis and left again in the morning. "


def binary() -> str:
    if given := os.environ.get("COPYDESK_BIN"):
        return given
    for kind in ("debug", "release"):
        if (path := ROOT / "target" / kind / "copydesk").exists():
            return str(path)
    raise FileNotFoundError("no server; `cargo build` first, or set COPYDESK_BIN")


class Server:
    """A server process; `url` is where it listens."""

    def __init__(self, *flags: str, address: str = "127.0.0.1:0") -> None:
        model = str(ROOT / "tests" / "fixtures" / "tiny")
        command = [binary(), "serve", "--addr", address, "--model", model, "--log-format", "json"]
        self._process = subprocess.Popen([*command, *flags], stderr=subprocess.PIPE, text=True)
        assert self._process.stderr
        for line in self._process.stderr:
            fields: dict[str, Any] = json.loads(line).get("fields", {})
            if fields.get("message") == "listening":
                self.address = fields["address"]
                break
        else:
            raise RuntimeError(f"the server ended with {self._process.wait()} before it listened")
        self.url = f"http://{self.address}"
        # Its log is read on, so that it never waits for us.
        self._log = self._process.stderr
        self._reader = threading.Thread(target=self._log.read, daemon=True)
        self._reader.start()
        with Client(self.url) as client:
            for _ in range(200):
                if client.serving():
                    return
                time.sleep(0.1)
        raise TimeoutError("the server does not come to serve")

    def stop(self, kind: int = signal.SIGKILL) -> int:
        """Ends it, at once unless told otherwise; its exit code."""
        self._process.send_signal(kind)
        code = self._process.wait(timeout=40)
        self._reader.join()
        self._log.close()
        return code

    def restart(self, kind: int) -> Server:
        """Ends it, and starts another in its place."""
        self.stop(kind)
        return Server(address=self.address)


class ClientTest(unittest.TestCase):
    server: Server
    client: Client

    @classmethod
    def setUpClass(cls) -> None:
        cls.server = Server()
        cls.addClassCleanup(cls.server.stop)
        cls.client = Client(cls.server.url, timeout=60)
        cls.addClassCleanup(cls.client.close)

    def test_sentences_stream_then_the_summary(self) -> None:
        *sentences, summary = self.client.stream(Article(text=TEXT))
        self.assertTrue(all(isinstance(sentence, Sentence) for sentence in sentences))
        self.assertIsInstance(summary, Summary)

    def test_an_answer_is_whole(self) -> None:
        answer = self.client.classify(Article(text=TEXT))
        sentences = answer.sentences
        self.assertEqual([s.index for s in sentences], [0, 1, 2])
        self.assertEqual([s.paragraph for s in sentences], [0, 0, 1])
        self.assertEqual(answer.summary.sentence_count, 3)
        for sentence in sentences:
            scores = sentence.type_scores
            total = sum(getattr(scores, name) for name in classify.TYPES)
            self.assertAlmostEqual(total, 1.0, places=4)
            self.assertNotEqual(sentence.type, SentenceType.SENTENCE_TYPE_UNSPECIFIED)

    def test_sentences_come_before_the_whole_article_is_read(self) -> None:
        with contextlib.closing(self.client.stream(Article(text=LONG * 5_000))) as stream:
            self.assertIsInstance(next(stream), Sentence)

    def test_offsets_are_code_points(self) -> None:
        parties = PartyList(items=[Party(id="n", name="Norland"), Party(id="o", name="Oster")])
        answer = self.client.classify(Article(id="a", text=TEXT, parties=parties))
        self.assertEqual(answer.article_id, "a")
        for sentence in answer.sentences:
            span = sentence.span
            self.assertEqual(TEXT[span.code_point_start : span.code_point_end], sentence.text)
        named = answer.sentences[2].parties
        self.assertEqual([p.party_id for p in named], ["o", "n"], "in the order of the sentence")
        for party in named:
            (mention,) = party.mentions
            span = mention.span
            self.assertEqual(TEXT[span.code_point_start : span.code_point_end], party.name)
        ids = [p.id for p in answer.summary.parties]
        self.assertEqual(ids, ["n", "o"], "in the caller's order")

    def test_low_scores_are_unspecified(self) -> None:
        answer = self.client.classify(Article(text="Rain."), ClassifyOptions(min_confidence=1.0))
        self.assertEqual(answer.summary.type_counts.unspecified, 1)

    def test_what_is_wrong_is_told_by_field(self) -> None:
        parties = PartyList(items=[Party(id="a", name="A"), Party(id="a", name="B")])
        with self.assertRaises(CopydeskError) as caught:
            self.client.classify(Article(text="A.", parties=parties))
        error = caught.exception
        self.assertIs(error.code, grpc.StatusCode.INVALID_ARGUMENT)
        self.assertEqual((error.reason, error.field), ("DUPLICATE_PARTY_ID", "parties[1].id"))
        self.assertTrue(error.message)

    def test_a_bad_article_costs_only_itself(self) -> None:
        articles = [
            Article(id="a", text="One. Two."),
            Article(id="b", text="  "),
            Article(id="a", text="Again."),
            Article(id="c", text="Four."),
        ]
        outcomes = list(self.client.classify_all(articles))
        self.assertEqual([o.article_id for o in outcomes], ["a", "b", "a", "c"])
        kinds = [type(outcome) for outcome in outcomes]
        self.assertEqual(kinds, [Answer, Failure, Failure, Answer])
        reasons = [o.error.reason for o in outcomes if isinstance(o, Failure)]
        self.assertEqual(reasons, ["EMPTY_TEXT", "DUPLICATE_ARTICLE_ID"])

    def test_an_article_too_large_to_read_costs_only_itself(self) -> None:
        articles = [
            Article(id="a", text="One."),
            Article(id="b", text="x" * (9 << 20)),
            Article(id="c", text="Three."),
        ]
        with self.assertLogs("copydesk"):
            outcomes = list(self.client.classify_all(articles))
        codes = [o.error.code if isinstance(o, Failure) else None for o in outcomes]
        self.assertEqual(codes, [None, grpc.StatusCode.OUT_OF_RANGE, None])

    def test_an_endless_corpus_is_drawn_from_as_it_is_answered(self) -> None:
        drawn = 0

        def endless() -> Iterator[Article]:
            nonlocal drawn
            while True:
                drawn += 1
                yield Article(id=f"a{drawn}", text="One. Two.")

        outcomes = self.client.classify_all(endless(), ahead=4)
        for number in range(1, 21):
            self.assertEqual(next(outcomes).article_id, f"a{number}")
            self.assertLessEqual(drawn, number + 5)
        outcomes.close()

    def test_what_the_source_raises_comes_after_what_it_gave(self) -> None:
        def failing() -> Iterator[Article]:
            yield Article(id="a", text="One.")
            raise KeyError("the archive is gone")

        outcomes = self.client.classify_all(failing())
        self.assertEqual(next(outcomes).article_id, "a")
        with self.assertRaises(KeyError):
            next(outcomes)

    def test_an_empty_corpus_has_no_answers(self) -> None:
        self.assertEqual(list(self.client.classify_all([])), [])

    def test_a_deadline_passes(self) -> None:
        article = Article(id="a", text=LONG * 10_000)
        with Client(self.server.url, timeout=0.3) as hasty:
            asks: list[Callable[[], object]] = [
                lambda: hasty.classify(article),
                lambda: list(hasty.classify_all([article])),
            ]
            for ask in asks:
                with self.assertRaises(CopydeskError) as caught:
                    ask()
                self.assertIs(caught.exception.code, grpc.StatusCode.DEADLINE_EXCEEDED)

    def test_a_corpus_may_take_longer_than_one_stream(self) -> None:
        def slow() -> Iterator[Article]:
            for number in range(4):
                yield Article(id=f"a{number}", text="One.")
                time.sleep(0.4)

        with Client(self.server.url, timeout=1.0) as client:
            outcomes = list(client.classify_all(slow()))
        self.assertEqual([o.article_id for o in outcomes], ["a0", "a1", "a2", "a3"])
        self.assertTrue(all(isinstance(o, Answer) for o in outcomes))

    def test_the_model_tells_itself_and_its_limits(self) -> None:
        answer = self.client.model()
        self.assertEqual(answer.model.identity.revision, "fixture")
        self.assertGreater(answer.limits.text_bytes, 0)

    def test_health_is_by_name(self) -> None:
        self.assertTrue(self.client.serving())
        with Client("http://127.0.0.1:1") as nobody:
            self.assertFalse(nobody.serving())

    def test_reflection_is_enough(self) -> None:
        # In a process of its own, so that no stub can have told it the contract.
        command = [sys.executable, str(HERE / "reflection.py"), self.server.url]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertIn('"text": "“We go,” said Ida Brandt."', ran.stdout)
        self.assertIn('"sentenceCount": 2', ran.stdout)
        with grpc.insecure_channel(self.server.address) as channel:
            service = reflection.Reflected(channel, reflection.SERVICE)
            (model,) = service.call("GetModel", {})
        self.assertEqual(len(model.model.identity.sha256), 64)

    def test_json_is_that_of_the_bundled_client(self) -> None:
        parties = [{"id": "o", "name": "Oster", "aliases": ["the Osters"]}]
        spans = [{"id": "n", "spans": [{"sentence": 1, "start": 3, "end": 10}]}]
        articles: list[classify.Json] = [
            {"id": "a", "headline": "Port Ellis", "text": TEXT},
            {"id": "b", "text": TEXT, "parties": parties},
            {"id": "c", "sentences": ["It rained.", "🦊 Norland won."], "parties": spans},
            {"id": "d", "text": " ", "parties": []},
        ]
        lines = "".join(json.dumps(article) + "\n" for article in articles)
        ours = [sys.executable, str(HERE / "classify.py")]
        bundled = [binary(), "classify"]
        outputs = []
        for command in (ours, bundled):
            flags = ["--server", self.server.url, "--format", "jsonl", "-"]
            ran = subprocess.run(
                [*command, *flags], input=lines, capture_output=True, text=True, timeout=60
            )
            self.assertEqual(ran.returncode, 1, "one article has failed")
            answers = [json.loads(line) for line in ran.stdout.splitlines()]
            for answer in answers:
                answer.pop("timings", None)
            outputs.append(answers)
        self.assertEqual(outputs[0], outputs[1])
        self.assertEqual([answer["id"] for answer in outputs[0]], ["a", "b", "c", "d"])

    def test_the_page_shows_each_sentence(self) -> None:
        article = str(ROOT / "examples" / "articles" / "diplomacy.txt")
        command = [sys.executable, str(HERE / "classify.py"), "--server", self.server.url, article]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        page = ran.stdout
        self.assertRegex(page, r"(?m)^  1  \w+ +REYKJAVIK, March 4 - Iceland summoned")
        self.assertRegex(page, r"(?m)^\d+ sentences: ")

    def test_what_cannot_be_read_keeps_its_place(self) -> None:
        lines = [
            classify.parse("f:1", b'{"id": "a", "text": "One."}'),
            classify.parse("f:2", b'{"id": "b", "txt": "Two."}'),
            classify.parse("f:3", b'{"text": "Three.", "parties": []}'),
            classify.parse("f:4", b"[]"),
        ]
        outcomes = list(classify.in_order(self.client, lines, ClassifyOptions()))
        self.assertEqual([o.article_id for o in outcomes], ["a", "f:2", "f:3", "f:4"])
        self.assertEqual([type(o) for o in outcomes], [Answer, Failure, Answer, Failure])


class TroubleTest(unittest.TestCase):
    """A server that has no room, or goes away."""

    def test_a_killed_server_costs_no_article_and_doubles_none(self) -> None:
        server = Server()
        self.addCleanup(lambda: server.stop())
        drawn = []

        def corpus() -> Iterator[Article]:
            for number in range(30):
                drawn.append(f"a{number}")
                yield Article(id=f"a{number}", text=LONG * 40)

        answers = []
        with Client(server.url, timeout=60) as client, self.assertLogs("copydesk") as log:
            for outcome in client.classify_all(corpus(), ahead=8):
                answers.append(outcome)
                if len(answers) == 5:
                    server = server.restart(signal.SIGKILL)
        self.assertEqual([o.article_id for o in answers], [f"a{n}" for n in range(30)])
        self.assertTrue(all(isinstance(o, Answer) and len(o.sentences) == 40 for o in answers))
        self.assertEqual(drawn, [f"a{n}" for n in range(30)], "each was drawn once")
        self.assertTrue(any("sent again" in line for line in log.output))

    def test_an_answer_that_breaks_off_begins_anew(self) -> None:
        server = Server()
        self.addCleanup(lambda: server.stop())
        with Client(server.url, timeout=120) as client, self.assertLogs("copydesk"):
            text = LONG * 300
            stream = client.stream(Article(text=text))
            next(stream)
            server = server.restart(signal.SIGKILL)
            events = list(stream)
        last = max(n for n, event in enumerate(events) if isinstance(event, Restart))
        indices = [event.index for event in events[last:] if isinstance(event, Sentence)]
        self.assertEqual(indices, list(range(300)))
        self.assertIsInstance(events[-1], Summary)

    def test_a_stopping_server_ends_its_corpora_and_the_next_one_goes_on(self) -> None:
        server = Server()
        self.addCleanup(lambda: server.stop())
        articles = [Article(id=f"a{n}", text=LONG * 20) for n in range(20)]
        answers = []
        with Client(server.url, timeout=60) as client, self.assertLogs("copydesk"):
            for outcome in client.classify_all(articles):
                answers.append(outcome.article_id)
                if len(answers) == 3:
                    # Meanwhile it is read on: the server ends once it has answered.
                    restarting = Later(server.restart, signal.SIGTERM)
            server = restarting.result()
        self.assertEqual(answers, [f"a{n}" for n in range(20)])

    def test_a_server_that_is_gone_is_told(self) -> None:
        with Client("http://127.0.0.1:1", timeout=5, tries=1, service_config=None) as client:
            asks: list[Callable[[], object]] = [
                client.model,
                lambda: client.classify(Article(text="One.")),
                lambda: list(client.classify_all([Article(id="a", text="One.")])),
            ]
            for ask in asks:
                with self.assertRaises(CopydeskError) as caught:
                    ask()
                self.assertIs(caught.exception.code, grpc.StatusCode.UNAVAILABLE)

    def test_a_full_queue_is_told_with_when_to_come_back(self) -> None:
        server = Server("--max-queue-tokens", "512", "--workers", "1")
        self.addCleanup(lambda: server.stop())
        refused = None
        with Client(server.url, tries=1, service_config=None) as plain:
            text = LONG * 400
            streams = []
            try:
                for _ in range(50):
                    stream = plain.stream(Article(text=text))
                    next(stream)
                    streams.append(stream)
            except CopydeskError as error:
                refused = error
            for stream in streams:
                stream.close()
        assert refused
        self.assertIs(refused.code, grpc.StatusCode.UNAVAILABLE)
        self.assertEqual(refused.reason, "QUEUE_FULL")
        self.assertGreater(refused.retry_after or 0, 0)

    def test_a_plain_client_with_the_service_config_gets_through_a_burst(self) -> None:
        # Ten times what the queue lets in at once, from clients that know nothing of copydesk but
        # the service config: gRPC itself comes back when it is told to.
        server = Server("--max-queue-tokens", "2048", "--workers", "1")
        self.addCleanup(lambda: server.stop())
        text, count, codes, sentences = LONG * 4, 10 * 1024 // 96, [], []

        def ask(stub: Any) -> None:
            request = classifier_pb2.ClassifyArticleRequest(article=Article(text=text))
            try:
                *answer, _ = stub.ClassifyArticle(request, timeout=120)
                sentences.append(len(answer))
                codes.append(grpc.StatusCode.OK)
            except grpc.RpcError as error:
                codes.append(error.code())

        def burst(config: str | None) -> None:
            codes.clear()
            options = [("grpc.service_config", config)] if config else [("grpc.enable_retries", 0)]
            target = server.url.removeprefix("http://")
            with grpc.insecure_channel(target, options) as channel:
                grpc.channel_ready_future(channel).result(timeout=30)
                stub = classifier_pb2_grpc.ClassifierServiceStub(channel)
                for asking in [Later(ask, stub) for _ in range(count)]:
                    asking.result()

        burst(None)
        self.assertIn(grpc.StatusCode.UNAVAILABLE, codes, "the queue was full")
        burst(SERVICE_CONFIG.read_text(encoding="utf-8"))
        self.assertEqual(codes, [grpc.StatusCode.OK] * count)
        self.assertEqual(set(sentences), {4})


class Later:
    """What a thread comes to."""

    def __init__(self, work: Callable[..., Any], *arguments: Any) -> None:
        self._result: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work, *arguments), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[..., Any], *arguments: Any) -> None:
        try:
            self._result = work(*arguments)
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        self._thread.join()
        if self._error:
            raise self._error
        return self._result


class Tokens(unittest.TestCase):
    """A server that asks for tokens."""

    def test_a_token_lets_in(self) -> None:
        token = "correct-horse-battery"
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "tokens")
            file.write_text(f"# ours\n{token}\n", encoding="utf-8")
            server = Server("--auth-tokens", str(file))
            self.addCleanup(server.stop)
            article = Article(id="a", text="The league met.")
            with Client(server.url, token=token) as client:
                self.assertEqual(len(client.classify(article).sentences), 1)
                self.assertEqual(len(list(client.classify_all([article]))), 1)
                self.assertTrue(client.model().model.identity.id)
            with Client(server.url) as client, self.assertRaises(CopydeskError) as raised:
                client.classify(article)
            self.assertEqual(raised.exception.reason, "UNAUTHENTICATED")

    def test_a_token_is_not_shown_to_the_network(self) -> None:
        with self.assertRaises(ValueError):
            Client("http://192.0.2.1:50051", token="correct-horse-battery")


if __name__ == "__main__":
    unittest.main()
