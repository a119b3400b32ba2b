"""What this package repeats of elsewhere is what it is there; and the stubs in it, and the service
config that the repository publishes, serve a client that knows nothing else."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from conftest import ROOT, SENTENCE, Later, Server

import copydesk
from copydesk import QuotationKind, SentenceType, Sentiment, _servers
from copydesk.v1 import answer_pb2, article_pb2, classifier_pb2, classifier_pb2_grpc

SERVICE_CONFIG = (ROOT / "examples" / "service_config.json").read_text(encoding="utf-8")
PACKAGE = ROOT / "clients" / "python"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (SentenceType, answer_pb2.SentenceType),
        (Sentiment, answer_pb2.Sentiment),
        (QuotationKind, answer_pb2.QuotationKind),
    ],
)
def test_labels_stand_in_the_order_of_the_contract(ours: Any, theirs: Any) -> None:
    prefix = len(theirs.Name(0)) - len("UNSPECIFIED")
    assert [member.value for member in ours] == [name[prefix:].lower() for name in theirs.keys()]
    assert list(theirs.values()) == list(range(len(ours)))


def test_pauses_are_those_of_the_service_config() -> None:
    (config,) = json.loads(SERVICE_CONFIG)["methodConfig"]
    policy = config["retryPolicy"]
    assert config["name"] == [{"service": _servers.SERVICE}]
    assert policy["initialBackoff"] == f"{_servers.FIRST_PAUSE}s"
    assert policy["maxBackoff"] == f"{_servers.LONGEST_PAUSE:.0f}s"
    assert policy["backoffMultiplier"] == _servers.PAUSE_FACTOR
    assert policy["retryableStatusCodes"] == ["UNAVAILABLE"]


def test_version_and_licence_are_the_repository_s() -> None:
    ours = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]["version"]
    theirs = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
    assert ours == theirs
    assert (PACKAGE / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_all_that_is_exported_is_there() -> None:
    assert all(hasattr(copydesk, name) for name in copydesk.__all__)


def test_what_protobuf_may_be_installed_is_what_the_stubs_ask_for() -> None:
    stub = (PACKAGE / "src" / "copydesk" / "v1" / "answer_pb2.py").read_text(encoding="utf-8")
    made = re.search(r"Protobuf Python Version: ((\d+)\.\S+)", stub)
    assert made
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    # They run with the next major version as well, and with none after it.
    assert f"protobuf>={made[1]},<{int(made[2]) + 2}" in project["dependencies"]


def test_a_plain_client_with_the_service_config_gets_through_a_burst(
    start: Callable[..., Server],
) -> None:
    # Ten times what the queue lets in at once: gRPC itself comes back when it is told to.
    server = start("--max-queue-tokens", "2048", "--workers", "1")
    count = 10 * 1024 // 96
    request = classifier_pb2.ClassifyArticleRequest(article=article_pb2.Article(text=SENTENCE * 4))

    def ask(stub: classifier_pb2_grpc.ClassifierServiceStub) -> tuple[grpc.StatusCode, int]:
        try:
            *sentences, _ = stub.ClassifyArticle(request, timeout=120)
        except grpc.RpcError as error:
            return error.code(), 0
        return grpc.StatusCode.OK, len(sentences)

    def burst(config: str | None) -> set[tuple[grpc.StatusCode, int]]:
        options: list[tuple[str, Any]] = [("grpc.enable_retries", 0)]
        if config:
            options = [("grpc.service_config", config)]
        with grpc.insecure_channel(server.address, options) as channel:
            grpc.channel_ready_future(channel).result(timeout=30)
            stub = classifier_pb2_grpc.ClassifierServiceStub(channel)
            return {one.result() for one in [Later(ask, stub) for _ in range(count)]}

    assert (grpc.StatusCode.UNAVAILABLE, 0) in burst(None), "the queue was never full"
    assert burst(SERVICE_CONFIG) == {(grpc.StatusCode.OK, 4)}
