"""What the client for threads gives, against the real server."""

from __future__ import annotations

import json
import pickle
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import grpc
import pytest
from conftest import SENTENCE, TEXT, Server, binary

from copydesk import (
    Answer,
    Article,
    Client,
    CopydeskError,
    Failure,
    Party,
    PartySpan,
    Sentence,
    SentenceType,
    Sentiment,
    Summary,
)


def test_sentences_stream_then_the_summary(client: Client) -> None:
    *sentences, summary = client.stream(TEXT)
    assert all(isinstance(sentence, Sentence) for sentence in sentences)
    assert isinstance(summary, Summary)


def test_an_answer_is_whole(client: Client) -> None:
    answer = client.classify(TEXT)
    assert [s.index for s in answer.sentences] == [0, 1, 2]
    assert [s.paragraph for s in answer.sentences] == [0, 0, 1]
    assert answer.summary.sentence_count == 3
    assert sum(answer.summary.type_counts.values()) == 3
    assert answer.summary.model.revision == "fixture"
    assert answer.summary.timings.total > 0
    for sentence in answer.sentences:
        assert sum(sentence.type_scores.values()) == pytest.approx(1.0, abs=1e-4)
        best = max(sentence.type_scores, key=lambda label: sentence.type_scores[label])
        assert sentence.type is best
        for party in sentence.parties:
            assert sum(party.scores.values()) == pytest.approx(1.0, abs=1e-4)
            assert party.sentiment in (Sentiment.NEGATIVE, Sentiment.NEUTRAL, Sentiment.POSITIVE)


def test_sentences_come_before_the_whole_article_is_read(client: Client) -> None:
    with closing(client.stream(SENTENCE * 5_000)) as stream:
        assert isinstance(next(stream), Sentence)


def test_offsets_index_python_strings(client: Client) -> None:
    parties = [Party("n", "Norland"), Party("o", "Oster")]
    answer = client.classify(Article(TEXT, id="a", parties=parties))
    assert answer.article_id == "a"
    for sentence in answer.sentences:
        assert TEXT[sentence.start : sentence.end] == sentence.text
        for quotation in sentence.quotations:
            assert TEXT[quotation.start : quotation.end] in sentence.text
    named = answer.sentences[2].parties
    assert [p.party for p in named] == ["o", "n"], "in the order of the sentence"
    for party in named:
        (mention,) = party.mentions
        assert TEXT[mention.start : mention.end] == mention.text == party.name
    assert [p.id for p in answer.summary.parties] == ["n", "o"], "in the caller's order"
    (place,) = answer.summary.parties[0].mentions
    assert (place.sentence, TEXT[place.start : place.end]) == (2, "Norland")


def test_ready_cut_sentences_and_spans_have_offsets_of_their_own(client: Client) -> None:
    norland = Party("n", spans=[PartySpan(2, 9, sentence=1)])
    article = Article(sentences=["It rained.", "🦊 Norland won."], parties=[norland])
    first, second = client.classify(article).sentences
    assert (first.start, first.end, second.start, second.end) == (0, 10, 0, 14)
    (party,) = second.parties
    assert [(m.start, m.end, m.text) for m in party.mentions] == [(2, 9, "Norland")]


def test_no_parties_is_not_the_same_as_parties_to_be_found(client: Client) -> None:
    assert client.classify(Article(TEXT)).summary.parties
    assert not client.classify(Article(TEXT, parties=[])).summary.parties


def test_low_scores_are_unspecified(client: Client) -> None:
    answer = client.classify("Rain.", min_confidence=1.0)
    assert answer.sentences[0].type is SentenceType.UNSPECIFIED
    assert answer.summary.type_counts[SentenceType.UNSPECIFIED] == 1


def test_what_is_wrong_is_told_by_field(client: Client) -> None:
    with pytest.raises(CopydeskError) as caught:
        client.classify(Article("A.", parties=[Party("a", "A"), Party("a", "B")]))
    error = caught.value
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (error.reason, error.field) == ("DUPLICATE_PARTY_ID", "parties[1].id")
    assert str(error) == f"INVALID_ARGUMENT: {error.message}"
    copied = pickle.loads(pickle.dumps(error))
    assert (copied.code, copied.field) == (error.code, error.field)


def test_a_bad_article_costs_only_itself(client: Client) -> None:
    articles = [Article("One. Two.", id="a"), Article("  ", id="b"), Article("Four.", id="c")]
    outcomes = list(client.classify_all(articles))
    assert [o.article_id for o in outcomes] == ["a", "b", "c"]
    assert [type(o) for o in outcomes] == [Answer, Failure, Answer]
    assert isinstance(outcomes[1], Failure) and outcomes[1].error.reason == "EMPTY_TEXT"


def test_an_article_too_large_to_read_costs_only_itself(client: Client) -> None:
    articles = [Article("One.", id="a"), Article("x" * (9 << 20), id="b"), Article("Three.", id="c")]
    outcomes = list(client.classify_all(articles))
    codes = [o.error.code if isinstance(o, Failure) else None for o in outcomes]
    assert codes == [None, grpc.StatusCode.OUT_OF_RANGE, None]


def test_an_endless_corpus_is_drawn_from_as_it_is_answered(client: Client) -> None:
    drawn = 0

    def endless() -> Iterator[Article]:
        nonlocal drawn
        while True:
            drawn += 1
            yield Article("One. Two.", id=f"a{drawn}")

    with closing(client.classify_all(endless(), ahead=4)) as outcomes:
        for number in range(1, 21):
            assert next(outcomes).article_id == f"a{number}"
            assert drawn <= number + 4


def test_what_the_source_raises_comes_after_what_it_gave(client: Client) -> None:
    def failing() -> Iterator[Article]:
        yield Article("One.", id="a")
        raise KeyError("the archive is gone")

    outcomes = client.classify_all(failing())
    assert next(outcomes).article_id == "a"
    with pytest.raises(KeyError):
        next(outcomes)


def test_a_source_that_waits_holds_up_no_answer(client: Client) -> None:
    go_on = threading.Event()

    def slow() -> Iterator[Article]:
        yield Article("One.", id="a")
        go_on.wait(60)
        yield Article("Two.", id="b")

    with closing(client.classify_all(slow())) as outcomes:
        assert next(outcomes).article_id == "a"
        assert not go_on.is_set()
        go_on.set()
        assert next(outcomes).article_id == "b"


def test_whoever_leaves_a_corpus_leaves_no_call_behind(server: Server) -> None:
    with Client(server.url, timeout=120) as client:
        articles = (Article(SENTENCE * (1 if n == 0 else 9_000), id=f"a{n}") for n in range(8))
        outcomes = client.classify_all(articles)
        next(outcomes)
        began = time.monotonic()
        outcomes.close()
        assert time.monotonic() - began < 5, "it waits for articles that nobody wants"
        assert client._servers.all[0].in_flight == 0
        assert not client._servers.all[0].failed, "the server is not to blame"


def test_an_empty_corpus_has_no_answers(client: Client) -> None:
    assert list(client.classify_all([])) == []


def test_a_deadline_passes(start: Callable[..., Server]) -> None:
    # Servers of their own, since one that has measured how slow it is refuses the article at once.
    article = Article(SENTENCE * 10_000, id="a")
    with Client(start().url) as client, pytest.raises(CopydeskError) as caught:
        client.classify(article, timeout=0.3)
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    with Client(start().url) as client:
        (outcome,) = client.classify_all([article], timeout=0.3)
    assert isinstance(outcome, Failure)
    assert outcome.error.code is grpc.StatusCode.DEADLINE_EXCEEDED


def test_an_article_for_which_there_is_no_room_in_time_costs_only_itself(
    start: Callable[..., Server],
) -> None:
    server = start("--max-queue-tokens", "512", "--workers", "1")
    articles = [Article(SENTENCE * 400, id=f"a{n}") for n in range(6)]
    with Client(server.url, timeout=1.0) as client:
        outcomes = list(client.classify_all(articles))
    assert [o.article_id for o in outcomes] == [a.id for a in articles]
    errors = [o.error for o in outcomes if isinstance(o, Failure)]
    assert "QUEUE_FULL" in {e.reason for e in errors}
    # A deadline that passes is told by whichever side sees it first, and only the server gives a reason.
    assert all(e.reason == "QUEUE_FULL" or e.code is grpc.StatusCode.DEADLINE_EXCEEDED for e in errors)


def test_the_model_tells_itself_and_its_limits(client: Client, server: Server) -> None:
    model = client.model()
    assert model.identity.revision == "fixture" and len(model.identity.sha256) == 64
    assert model.limits.text_bytes > 0 and model.window_tokens > 0
    assert model.device.startswith("cpu-") and model.version
    assert client.models() == {server.url: model}


def test_health_is_told_by_address(client: Client, server: Server) -> None:
    with Client(server.url, "http://127.0.0.1:1") as both:
        assert both.serving() == {server.url: True, "http://127.0.0.1:1": False}


def test_json_is_that_of_the_bundled_client(client: Client, server: Server) -> None:
    parties = [{"id": "o", "name": "Oster", "aliases": ["the Osters"]}]
    spans = [{"id": "n", "spans": [{"sentence": 1, "start": 2, "end": 9}]}]
    lines: list[dict[str, Any]] = [
        {"id": "a", "headline": "Port Ellis", "text": TEXT, "date": "2026-01-02"},
        {"id": "b", "text": TEXT, "parties": parties},
        {"id": "c", "sentences": ["It rained.", "🦊 Norland won."], "parties": spans},
        {"id": "d", "text": " ", "parties": []},
    ]
    command = [binary(), "classify", "--server", server.url, "--format", "jsonl", "-"]
    given = "".join(json.dumps(line) + "\n" for line in lines)
    ran = subprocess.run(command, input=given, capture_output=True, text=True, timeout=60)
    bundled = [json.loads(line) for line in ran.stdout.splitlines()]
    articles = [Article.from_dict(line) for line in lines]
    ours = [outcome.to_dict() for outcome in client.classify_all(articles)]
    for answer in (*bundled, *ours):
        timings = answer.pop("timings", None)
        assert "error" in answer or list(timings) == ["queue", "tokenize", "encode", "total"]
    assert ours == bundled
    assert [answer["id"] for answer in ours] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    "line",
    [
        {"id": "a"},
        {"id": "a", "text": "One.", "sentences": ["One."]},
        {"id": "a", "txt": "One."},
        {"id": "a", "text": "One.", "parties": [{"name": "A"}]},
        {"id": "a", "sentences": "One."},
    ],
)
def test_what_is_no_article_is_told(line: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        Article.from_dict(line)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Client("127.0.0.1:50051"),
        lambda: Client("http://"),
        lambda: Client("http://127.0.0.1:50051/path"),
        lambda: Client("ftp://127.0.0.1:50051"),
        lambda: Client("http://192.0.2.1:50051", token="correct-horse-battery"),
        lambda: Client("http://127.0.0.1:50051", token="two\nlines"),
        lambda: Client("http://127.0.0.1:50051", certificate=(b"", b"")),
        lambda: Client("https://127.0.0.1:50051", root_certificates=b"none"),
        lambda: Client("https://127.0.0.1:50051", "http://192.0.2.1", token="correct-horse"),
    ],
)
def test_settings_that_make_no_sense_are_told(make: Callable[[], Client]) -> None:
    with pytest.raises(ValueError):
        make()


def test_a_plain_token_may_stay_on_this_machine() -> None:
    for address in ("http://localhost:1", "http://127.0.0.9:1", "http://[::1]:1"):
        Client(address, token="correct-horse-battery").close()
