"""HTTP/2 by hand: what no client library would send, and what a server says to it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, ACK = 1, 4, 1
SERVICE = "copydesk.v1.ClassifierService"
CODES = (
    "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS "
    "PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED "
    "INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED"
).split()


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def message(body: bytes, flag: int = 0, length: int | None = None) -> bytes:
    """A gRPC message, or what claims to be one."""
    return struct.pack(">BI", flag, len(body) if length is None else length) + body


def block(fields: list[tuple[str, str]]) -> bytes:
    """Fields as literals without indexing or Huffman coding."""

    def text(value: str) -> bytes:
        raw, size = value.encode(), b""
        if len(raw) < 127:
            return bytes([len(raw)]) + raw
        rest = len(raw) - 127
        while rest >= 128:
            size, rest = size + bytes([rest % 128 + 128]), rest // 128
        return b"\x7f" + size + bytes([rest]) + raw

    return b"".join(b"\x00" + text(name) + text(value) for name, value in fields)


def fields(path: str, token: str | None, **more: str) -> list[tuple[str, str]]:
    """The headers of a call; `more` adds to them or, by the same name, replaces one."""
    head = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "localhost",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    if token:
        head["authorization"] = f"Bearer {token}"
    return list({**head, **{name.replace("_", "-"): value for name, value in more.items()}}.items())


class Raw:
    """A connection whose every byte is ours."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._decoder = hpack.Decoder()
        self.messages = 0

    @classmethod
    async def open(cls, port: int) -> Raw:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, *pieces: bytes) -> None:
        """Sends; that the server has closed meanwhile shows when reading."""
        with contextlib.suppress(OSError):
            self._writer.write(b"".join(pieces))
            await self._writer.drain()

    async def begin(self, window: int | None = None) -> None:
        settings = b"" if window is None else struct.pack(">HI", 4, window)
        await self.send(PREFACE, frame(SETTINGS, 0, 0, settings))

    async def call(self, head: list[tuple[str, str]], body: bytes | None, stream: int = 1) -> None:
        """A whole call, its body in frames of the size that all servers take."""
        end = END_STREAM if body is None else 0
        pieces = [frame(HEADERS, END_HEADERS | end, stream, block(head))]
        if body is not None:
            parts = [body[at : at + 16384] for at in range(0, len(body), 16384)] or [b""]
            # Beyond the windows of a connection, the server would have to allow more first.
            for n, part in enumerate(parts[:3]):
                last = END_STREAM if n + 1 == len(parts) else 0
                pieces.append(frame(DATA, last, stream, part))
        await self.send(*pieces)

    async def outcome(self, seconds: float, stream: int = 1, reads: bool = True) -> str:
        """How the server answers: a gRPC code, `HTTP …`, RESET, GOAWAY, CLOSED, or SILENT."""
        try:
            async with asyncio.timeout(seconds):
                return await self._outcome(stream, reads)
        except TimeoutError:
            return "SILENT"
        except (OSError, asyncio.IncompleteReadError):
            return "CLOSED"

    async def _outcome(self, stream: int, reads: bool) -> str:
        said = "ENDED"
        while True:
            head = await self._reader.readexactly(9)
            kind, flags = head[3], head[4]
            number = int.from_bytes(head[5:], "big") & 0x7FFF_FFFF
            payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
            if kind == SETTINGS and not flags & ACK:
                await self.send(frame(SETTINGS, ACK, 0))
            elif kind == PING and not flags & ACK:
                await self.send(frame(PING, ACK, 0, payload))
            elif kind == GOAWAY and int.from_bytes(payload[4:8], "big"):
                return "GOAWAY"
            elif kind == RESET and number == stream:
                # What follows the end of an answer, when the request had more to say.
                return said if said in CODES else "RESET"
            elif kind == HEADERS:
                found = dict(self._decoder.decode(payload))
                if number != stream:
                    continue
                if (code := found.get("grpc-status")) is not None:
                    said = CODES[int(code)]
                elif (status := found.get(":status", "200")) != "200":
                    said = f"HTTP {status}"
            elif kind == DATA and number == stream:
                self.messages += 1
                if reads and payload:
                    more = struct.pack(">I", len(payload))
                    await self.send(frame(WINDOW, 0, 0, more), frame(WINDOW, 0, stream, more))
            if number == stream and kind in (HEADERS, DATA) and flags & END_STREAM:
                return said

    async def close(self, abruptly: bool = False) -> None:
        if abruptly and (sock := self._writer.get_extra_info("socket")):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
