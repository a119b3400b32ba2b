"""Why a call or an article failed."""

from __future__ import annotations

from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

# A connection that breaks may show as these too, and then without a reason of copydesk's.
_BROKE = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED)

# What one article is to blame for; the rest of a corpus may go well.
_ARTICLE = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    # Too large for the server to read, or its answer for this client.
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)


class CopydeskError(Exception):
    """Why a call or an article failed."""

    code: grpc.StatusCode
    message: str
    # Name of an `ErrorReason` of the contract ("QUEUE_FULL"); empty if the error is the transport's.
    reason: str
    # What of the article is wrong ("parties[2].spans[0]"), if the code is INVALID_ARGUMENT.
    field: str | None
    # Seconds after which the server asks to try again.
    retry_after: float | None

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        reason: str = "",
        field: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(code, message, reason, field, retry_after)
        self.code, self.message, self.reason = code, message, reason
        self.field, self.retry_after = field, retry_after

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"

    @property
    def worth_another(self) -> bool:
        """No room, a server that went away, a connection that broke: another try may go well."""
        broke = self.code in _BROKE and not self.reason
        return self.code is grpc.StatusCode.UNAVAILABLE or broke

    @property
    def about_article(self) -> bool:
        """Whether it is the article's own, so that others may go well: something in it is wrong, it
        took too long or found no room in its time, or the model failed on it."""
        return self.code in _ARTICLE or self.reason in ("MODEL_FAILED", "QUEUE_FULL")


def of_status(status: status_pb2.Status) -> CopydeskError:
    """Reads the details that the server sends along."""
    code = next((c for c in grpc.StatusCode if c.value[0] == status.code), None)
    info = error_details_pb2.ErrorInfo()
    bad = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    reason, field, after = "", None, None
    for detail in status.details:
        if detail.Unpack(info) and info.domain == "copydesk":
            reason = info.reason
        elif detail.Unpack(bad) and bad.field_violations:
            field = bad.field_violations[0].field
        elif detail.Unpack(retry):
            after = retry.retry_delay.ToTimedelta().total_seconds()
    unknown = grpc.StatusCode.UNKNOWN
    return CopydeskError(code or unknown, status.message, reason, field, after)


def of_call(call: Any) -> CopydeskError:
    """Reads an error as gRPC raises it, which is also the call that failed."""
    try:
        status = rpc_status.from_call(call)
    except ValueError:  # Details that do not go with the code: not a server of ours.
        status = None
    if status:
        return of_status(status)
    return CopydeskError(call.code() or grpc.StatusCode.UNKNOWN, call.details() or "")


def broke_off() -> CopydeskError:
    """The stream ended without a summary."""
    message = "the answer broke off before its summary"
    return CopydeskError(grpc.StatusCode.UNAVAILABLE, message)


def not_serving() -> CopydeskError:
    """The server's health says that it takes no calls."""
    return CopydeskError(grpc.StatusCode.UNAVAILABLE, "the server is not serving")
