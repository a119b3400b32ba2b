"""What both clients share: addresses and how they are connected to, how each server does, and the
way of an article from one try to the next. Sends nothing by itself."""

from __future__ import annotations

import ipaddress
import logging
import random
import ssl
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import grpc

from copydesk.error import CopydeskError

log = logging.getLogger("copydesk")

DEFAULT_ADDRESS = "http://127.0.0.1:50051"
SERVICE = "copydesk.v1.ClassifierService"

# The pauses of `examples/service_config.json`. That file's five tries are the most that gRPC makes,
# and over within four seconds; a server may take longer to come back, hence `tries` of our own.
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 5.0
PAUSE_FACTOR = 2.0

# How long a server may take to say how it is.
SOON = 3.0

OPTIONS: Sequence[tuple[str, int]] = (
    # Above any answer: the summary of the largest article names each of its mentions.
    ("grpc.max_receive_message_length", 64 << 20),
    # A peer that has vanished is noticed, and one that is back is found soon.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # By its name, how long connecting may take.
    ("grpc.min_reconnect_backoff_ms", 10_000),
)


@dataclass(frozen=True)
class Access:
    """How servers are reached, as told by the caller; what makes no sense is a ValueError."""

    root_certificates: bytes | None
    certificate: tuple[bytes, bytes] | None
    token: str | None

    def __post_init__(self) -> None:
        if self.root_certificates is not None:
            try:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.load_verify_locations(cadata=self.root_certificates.decode("ascii"))
            except (ssl.SSLError, UnicodeDecodeError) as error:
                raise ValueError(f"root_certificates holds no certificates: {error}") from None
        if self.token is not None and not (self.token.isascii() and self.token.isprintable()):
            raise ValueError("token holds what no header can: use printable ASCII on one line")

    def server(self, address: str) -> Server:
        parts = urlsplit(address)
        known = parts.scheme in ("http", "https") and parts.hostname and not parts.username
        if not known or parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError(f"{address!r} is no address of a server; use http://host:port")
        tls = parts.scheme == "https"
        if not tls and (self.root_certificates is not None or self.certificate is not None):
            raise ValueError(f"{address!r} is plain text, where no certificate is looked at")
        if not tls and self.token and not _is_loopback(parts.hostname or ""):
            raise ValueError(
                f"{address!r} is plain text, where everyone on the way could read the token"
            )
        target = parts.netloc if parts.port else f"{parts.netloc}:{443 if tls else 80}"
        return Server(address, target, tls)

    def credentials(self) -> grpc.ChannelCredentials:
        chain, key = self.certificate or (None, None)
        return grpc.ssl_channel_credentials(self.root_certificates, key, chain)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(eq=False)
class Server:
    """One server: what is under way there, how it does, when it may be asked."""

    address: str
    target: str  # As gRPC takes it.
    tls: bool
    in_flight: int = 0
    ready: float = 0.0  # Before that it rests.
    pause: float = FIRST_PAUSE  # After its next failure.
    failed: bool = False  # Its last answer was a failure.


class Servers:
    """The servers of a client. May be used by several threads at once."""

    def __init__(self, addresses: Collection[str], access: Access) -> None:
        self.all = [access.server(address) for address in addresses or (DEFAULT_ADDRESS,)]
        self._lock = threading.Lock()
        self._turn = 0

    def idlest(self, slots: dict[Server, float]) -> tuple[Server, float]:
        """Of those that may be asked now the one with the fewest articles under way, else the one
        that may be asked first; and when. `slots` are times that servers have named to the article.
        Idle ones take turns."""
        with self._lock:
            now = time.monotonic()
            self._turn += 1
            turn = self._turn % len(self.all)

            def when(server: Server) -> float:
                return max(server.ready, slots.get(server, 0.0), now)

            order = self.all[turn:] + self.all[:turn]
            best = min(order, key=lambda server: (when(server), server.in_flight))
            return best, when(best)

    def began(self, server: Server) -> None:
        with self._lock:
            server.in_flight += 1

    def ended(self, server: Server) -> None:
        with self._lock:
            server.in_flight -= 1

    def well(self, server: Server) -> None:
        """It answers."""
        with self._lock:
            server.failed, server.pause, server.ready = False, FIRST_PAUSE, 0.0

    def rest(self, server: Server) -> None:
        """It does not answer."""
        with self._lock:
            now = time.monotonic()
            resting, server.failed = now < server.ready, True
            server.ready = max(server.ready, now + server.pause * random.uniform(0.8, 1.2))
            # Articles that fail together are one failure.
            if not resting:
                server.pause = min(server.pause * PAUSE_FACTOR, LONGEST_PAUSE)

    def doubtful(self, server: Server) -> bool:
        """Whether it is to be asked how it is before an article is risked on it: its last answer was
        a failure, and there are others. Meanwhile these are turned to."""
        with self._lock:
            if len(self.all) == 1 or not server.failed:
                return False
            server.ready = time.monotonic() + SOON
            return True


class Way:
    """The way of one article: which server is asked next, and when to give up."""

    def __init__(self, servers: Servers, timeout: float, tries: int) -> None:
        self._servers = servers
        self._end = time.monotonic() + timeout
        self._left = max(tries, 1) * len(servers.all)
        self._slots: dict[Server, float] = {}
        self._last: CopydeskError | None = None

    def left(self) -> float:
        """Seconds to the deadline."""
        return max(self._end - time.monotonic(), 0.0)

    def next(self) -> tuple[Server, float]:
        """The server to ask, and after how many seconds. Raises the last error when there is to be
        no further try."""
        server, ready = self._servers.idlest(self._slots)
        # Waiting beyond the deadline is no use: the last error tells more.
        if self._last and (self._left <= 0 or ready >= self._end):
            raise self._last
        self._left -= 1
        return server, max(ready - time.monotonic(), 0.0)

    def failed(self, server: Server, error: CopydeskError) -> None:
        """A try came to nothing; raises the error if another would as well."""
        if not error.worth_another:
            raise error
        self._last = error
        if error.retry_after is not None:
            # Well, but full. Whoever is given a slot is in a queue, and goes on until the deadline.
            self._slots[server] = time.monotonic() + error.retry_after
            self._left += 1
        else:
            self._servers.rest(server)


def log_again(server: Server, error: CopydeskError, article_id: str) -> None:
    """Tells that an article is sent again, and why. That a queue was full is no trouble."""
    level = logging.INFO if error.retry_after is not None else logging.WARNING
    log.log(level, "%s: %s; article %r is sent again", server.address, error, article_id)
