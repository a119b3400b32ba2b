"""Triton's client against the real server: python -m unittest.

COPYDESK_BIN names the server's binary; otherwise it is looked for where cargo puts it. The tiny
model of the Rust tests answers: its labels are nonsense, but shapes, places and errors are right.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

from classify import TYPES, tensor

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MODEL = "news-en"
TEXTS = [
    "The league met in Port Ellis 🦊. “We go,” said Ida Brandt.\n\nOster blamed Norland.",
    "It rained.",
    "Norland won. Oster lost.",
]
PARTIES = '[{"id": "o", "name": "Oster"}, {"id": "n", "name": "Norland"}]'
LONG = "The league met in Port Ellis and left again in the morning. "


def binary() -> str:
    if given := os.environ.get("COPYDESK_BIN"):
        return given
    for kind in ("debug", "release"):
        if (path := ROOT / "target" / kind / "copydesk").exists():
            return str(path)
    raise FileNotFoundError("no server; `cargo build` first, or set COPYDESK_BIN")


class Server:
    """A server process; `address` is where it listens."""

    def __init__(self, *flags: str) -> None:
        model = str(ROOT / "tests" / "fixtures" / "tiny")
        command = [binary(), "serve", "--addr", "127.0.0.1:0", "--model", model, "--log-format", "json"]
        self._process = subprocess.Popen([*command, *flags], stderr=subprocess.PIPE, text=True)
        assert self._process.stderr
        self._log = self._process.stderr
        for line in self._log:
            fields: dict[str, Any] = json.loads(line).get("fields", {})
            if fields.get("message") == "listening":
                self.address = fields["address"]
                break
        else:
            raise RuntimeError(f"the server ended with {self._process.wait()} before it listened")
        # Its log is read on, so that it never waits for us.
        self._reader = threading.Thread(target=self._log.read, daemon=True)
        self._reader.start()

    def until_ready(self) -> None:
        with triton.InferenceServerClient(self.address) as client:
            for _ in range(300):
                if client.is_server_ready():
                    return
                time.sleep(0.1)
        raise TimeoutError("the server does not come to serve")

    def terminate(self) -> None:
        self._process.terminate()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(timeout=40)
        self._reader.join()
        self._log.close()


def wanted(*names: str) -> list[triton.InferRequestedOutput]:
    return [triton.InferRequestedOutput(name) for name in names]


def answers(result: triton.InferResult) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.as_numpy("answer")]


def parameter(result: triton.InferResult, name: str) -> Any:
    given = result.get_response().parameters[name]
    return getattr(given, given.WhichOneof("parameter_choice"))


class TritonClient(unittest.TestCase):
    server: Server

    @classmethod
    def setUpClass(cls) -> None:
        cls.server = Server()
        cls.addClassCleanup(cls.server.stop)
        cls.server.until_ready()

    def setUp(self) -> None:
        self.client = triton.InferenceServerClient(self.server.address)
        self.addCleanup(self.client.close)

    def test_server_and_model_tell_themselves(self) -> None:
        self.assertTrue(self.client.is_server_live())
        self.assertTrue(self.client.is_model_ready(MODEL))
        self.assertTrue(self.client.is_model_ready(MODEL, "fixture"))
        self.assertFalse(self.client.is_model_ready(MODEL, "2"))
        self.assertFalse(self.client.is_model_ready("resnet"))
        self.assertEqual(self.client.get_server_metadata().name, "copydesk")
        metadata = self.client.get_model_metadata(MODEL, as_json=True)
        self.assertEqual(metadata["versions"], ["fixture"])
        self.assertEqual([i["name"] for i in metadata["inputs"]], ["text", "headline", "parties"])
        config = self.client.get_model_config(MODEL).config
        self.assertEqual(config.parameters["types"].string_value.split(","), TYPES)
        self.assertEqual(len(config.output), len(metadata["outputs"]))

    def test_articles_of_different_length_are_told_apart(self) -> None:
        result = self.client.infer(MODEL, [tensor("text", TEXTS), tensor("parties", [PARTIES] * 3)])
        splits = result.as_numpy("sentence_splits").tolist()
        self.assertEqual(splits, [0, 3, 4, 6])
        scores = result.as_numpy("type_scores")
        self.assertEqual(scores.shape, (6, 5))
        np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
        rows = result.as_numpy("pair_sentences").tolist()
        parties = [party.decode() for party in result.as_numpy("pair_parties")]
        self.assertEqual(list(zip(rows, parties)), [(2, "o"), (2, "n"), (4, "n"), (5, "o")])
        self.assertEqual(result.as_numpy("pair_splits").tolist(), [0, 2, 2, 4])
        self.assertEqual(result.as_numpy("sentiment_scores").shape, (4, 3))
        # The same as JSON.
        for line, text, first, end in zip(answers(result), TEXTS, splits, splits[1:]):
            self.assertEqual(len(line["sentences"]), end - first)
            for sentence, row in zip(line["sentences"], range(first, end)):
                told = [sentence["type_scores"][name] for name in TYPES]
                np.testing.assert_allclose(scores[row], told, atol=6e-5)
                start, stop = result.as_numpy("sentence_spans")[row]
                self.assertEqual(text[start:stop].encode(), result.as_numpy("sentences")[row])
                self.assertEqual(sentence["type"].encode(), result.as_numpy("types")[row])

    def test_tensors_without_rows_are_empty(self) -> None:
        result = self.client.infer(MODEL, [tensor("text", ["It rained."]), tensor("parties", ["[]"])])
        self.assertEqual(result.as_numpy("pair_parties").shape, (0,))
        self.assertEqual(result.as_numpy("sentiment_scores").shape, (0, 3))

    def test_shape_outputs_and_json_as_asked(self) -> None:
        article = {"id": "a1", "sentences": ["Oster won.", "It rained."]}
        text = triton.InferInput("text", [1, 1], "BYTES")
        text.set_data_from_numpy(np.array([[json.dumps(article).encode()]], dtype=np.object_))
        outputs = wanted("types", "answer")
        result = self.client.infer(MODEL, [text], outputs=outputs, request_id="r7")
        response = result.get_response()
        self.assertEqual([o.name for o in response.outputs], ["types", "answer"])
        self.assertEqual((response.id, response.model_version), ("r7", "fixture"))
        self.assertEqual(answers(result)[0]["id"], "a1")
        self.assertEqual(len(answers(result)[0]["sentences"]), 2)

    def test_parameters(self) -> None:
        inputs = [tensor("text", TEXTS)]
        result = self.client.infer(MODEL, inputs, parameters={"min_confidence": 1.0})
        self.assertEqual(set(result.as_numpy("types")), {b"unspecified"})

    def test_errors_are_as_from_triton(self) -> None:
        text = [tensor("text", ["A."])]
        bad = triton.InferInput("text", [1], "INT32")
        bad.set_data_from_numpy(np.zeros(1, dtype=np.int32))
        cases = [
            (lambda: self.client.infer("resnet", text), "NOT_FOUND", "unknown model: 'resnet'"),
            (lambda: self.client.get_model_metadata("resnet"), "NOT_FOUND", "is not found"),
            (lambda: self.client.infer(MODEL, []), "INVALID_ARGUMENT", "missing required input"),
            (lambda: self.client.infer(MODEL, [bad]), "INVALID_ARGUMENT", "data-type is 'INT32'"),
            (
                lambda: self.client.infer(MODEL, [tensor("text", ["A.", ""])]),
                "INVALID_ARGUMENT",
                "text[1]: is empty or blank",
            ),
            (
                lambda: self.client.infer(MODEL, text, outputs=wanted("logits")),
                "INVALID_ARGUMENT",
                "unexpected inference output 'logits'",
            ),
            (
                lambda: self.client.infer(MODEL, [tensor("text", [LONG * 15_000])], client_timeout=0.5),
                "DEADLINE_EXCEEDED",
                "",
            ),
            (lambda: self.client.get_inference_statistics(), "UNIMPLEMENTED", "Prometheus"),
        ]
        for ask, code, message in cases:
            with self.assertRaises(InferenceServerException) as raised:
                ask()
            self.assertEqual(raised.exception.status(), f"StatusCode.{code}")
            self.assertIn(message, raised.exception.message())

    def test_answers_by_callback(self) -> None:
        done: queue.Queue[Any] = queue.Queue()
        for text in [*TEXTS, " "]:
            callback = lambda result, error: done.put(error or result)
            self.client.async_infer(MODEL, [tensor("text", [text])], callback)
        found = [done.get(timeout=60) for _ in range(4)]
        failed = [f for f in found if isinstance(f, InferenceServerException)]
        self.assertEqual([f.status() for f in failed], ["StatusCode.INVALID_ARGUMENT"])
        counts = sorted(len(answers(f)[0]["sentences"]) for f in found if f not in failed)
        self.assertEqual(counts, [1, 2, 3])

    def stream(self, **options: Any) -> queue.Queue[Any]:
        done: queue.Queue[Any] = queue.Queue()
        self.client.start_stream(lambda result, error: done.put(error or result), **options)
        self.addCleanup(self.client.stop_stream)
        return done

    def test_a_stream_answers_in_order(self) -> None:
        done = self.stream()
        for number, text in enumerate([*TEXTS, " ", *TEXTS]):
            inputs = [tensor("text", [text])]
            self.client.async_stream_infer(MODEL, inputs, request_id=str(number))
        found = [done.get(timeout=60) for _ in range(7)]
        self.assertIsInstance(found[3], InferenceServerException)
        self.assertIn("text[0]: is empty or blank", found[3].message())
        for number, result in enumerate(found):
            if number != 3:
                self.assertEqual(result.get_response().id, str(number))
                self.assertIs(parameter(result, "triton_final_response"), True)
                self.assertEqual(len(answers(result)[0]["sentences"]), [3, 1, 2, 0, 3, 1, 2][number])

    def test_a_stream_ends_at_an_error_if_asked_to(self) -> None:
        done = self.stream(headers={"triton_grpc_error": "true"})
        self.client.async_stream_infer(MODEL, [tensor("text", ["A."])])
        self.client.async_stream_infer("resnet", [tensor("text", ["A."])])
        self.assertNotIsInstance(done.get(timeout=60), InferenceServerException)
        self.assertEqual(done.get(timeout=60).status(), "StatusCode.NOT_FOUND")

    def test_sentences_one_by_one(self) -> None:
        for empty_final in (False, True):
            done = self.stream()
            self.client.async_stream_infer(
                MODEL,
                [tensor("text", TEXTS)],
                parameters={"decoupled": True},
                enable_empty_final_response=empty_final,
            )
            events: list[tuple[int, str]] = []
            while True:
                result = done.get(timeout=60)
                last = parameter(result, "triton_final_response")
                if not (last and empty_final):
                    events.append((parameter(result, "article"), parameter(result, "event")))
                    kind = "type" if events[-1][1] == "sentence" else "types"
                    self.assertIn(kind, answers(result)[0])
                if last:
                    break
            expect = [
                (article, event)
                for article, count in enumerate([3, 1, 2])
                for event in ["sentence"] * count + ["summary"]
            ]
            self.assertEqual(events, expect)
            self.client.stop_stream()

    def test_asyncio(self) -> None:
        async def ask() -> None:
            async with triton_aio.InferenceServerClient(self.server.address) as client:
                self.assertTrue(await client.is_server_ready())
                asking = [client.infer(MODEL, [tensor("text", [text])]) for text in TEXTS]
                found = await asyncio.gather(*asking)
                counts = [len(answers(result)[0]["sentences"]) for result in found]
                self.assertEqual(counts, [3, 1, 2])
                with self.assertRaises(InferenceServerException) as raised:
                    await client.infer("resnet", [tensor("text", ["A."])])
                self.assertEqual(raised.exception.status(), "StatusCode.NOT_FOUND")

                async def requests() -> AsyncIterator[dict[str, Any]]:
                    for number, text in enumerate([*TEXTS, " "]):
                        inputs = [tensor("text", [text])]
                        yield {"model_name": MODEL, "inputs": inputs, "request_id": str(number)}

                ids = []
                async for result, error in client.stream_infer(requests()):
                    ids.append("failed" if error else result.get_response().id)
                self.assertEqual(ids, ["0", "1", "2", "failed"])

        asyncio.run(ask())

    def test_the_example(self) -> None:
        articles = ROOT / "examples" / "articles"
        files = [str(articles / name) for name in ("court.txt", "sport.txt")]
        command = [sys.executable, str(HERE / "classify.py"), "--server", self.server.address, *files]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        for file in files:
            self.assertRegex(ran.stdout, rf"{file}\n\n  1  \w+ +\w")


class Stopping(unittest.TestCase):
    def test_a_server_that_drains_is_not_ready(self) -> None:
        server = Server("--drain-wait", "3")
        self.addCleanup(server.stop)
        server.until_ready()
        with triton.InferenceServerClient(server.address) as client:
            server.terminate()
            for _ in range(25):
                if not (ready := client.is_server_ready()):
                    break
                time.sleep(0.1)
            self.assertFalse(ready)
            self.assertTrue(client.is_server_live())
            client.infer(MODEL, [tensor("text", ["Until it stops it answers."])])

    def test_tokens(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "tokens")
            file.write_text("correct-horse-battery\n", encoding="utf-8")
            server = Server("--auth-tokens", str(file))
            self.addCleanup(server.stop)
            server.until_ready()
            inputs = [tensor("text", ["A."])]
            with triton.InferenceServerClient(server.address) as client:
                with self.assertRaises(InferenceServerException) as raised:
                    client.infer(MODEL, inputs)
                self.assertEqual(raised.exception.status(), "StatusCode.UNAUTHENTICATED")
                token = {"authorization": "Bearer correct-horse-battery"}
                client.infer(MODEL, inputs, headers=token)

    def test_it_can_be_off(self) -> None:
        server = Server("--no-open-inference")
        self.addCleanup(server.stop)
        with triton.InferenceServerClient(server.address) as client:
            with self.assertRaises(InferenceServerException) as raised:
                client.is_server_live()
        self.assertEqual(raised.exception.status(), "StatusCode.UNIMPLEMENTED")


if __name__ == "__main__":
    unittest.main()
