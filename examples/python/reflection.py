"""Asks a copydesk server knowing nothing of it: the contract comes from the server itself, by
reflection. Needs no stubs.

    python reflection.py http://127.0.0.1:50051
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToJson, ParseDict
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

SERVICE = "copydesk.v1.ClassifierService"

ARTICLE = {"text": "The league met in Port Ellis. “We go,” said Ida Brandt."}


class Reflected:
    """A service as its server describes it."""

    def __init__(self, channel: grpc.Channel, service: str) -> None:
        database = ProtoReflectionDescriptorDatabase(channel)
        if service not in database.get_services():
            raise LookupError(f"the server has no {service}")
        self._channel = channel
        self._service = DescriptorPool(database).FindServiceByName(service)

    def call(self, name: str, request: dict[str, Any], timeout: float = 60.0) -> Iterator[Any]:
        """Calls a method that takes one request; its answers, one or many."""
        method = self._service.methods_by_name[name]
        kind = self._channel.unary_stream if method.server_streaming else self._channel.unary_unary
        stub = kind(
            f"/{self._service.full_name}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        answer = stub(ParseDict(request, GetMessageClass(method.input_type)()), timeout=timeout)
        yield from answer if method.server_streaming else [answer]


def main() -> int:
    url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:50051"
    with grpc.insecure_channel(urlsplit(url).netloc) as channel:
        service = Reflected(channel, SERVICE)
        for answer in service.call("GetModel", {}):
            print(MessageToJson(answer))
        for answer in service.call("ClassifyArticle", {"article": ARTICLE}):
            print(MessageToJson(answer, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
