"""Problems as gRPC tells them: a status, our code in `google.rpc.ErrorInfo`, and when to try again in `RetryInfo`."""

from __future__ import annotations

from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from lookalike.serving.codes import ERROR_CODES
from lookalike.serving.errors import ProblemError
from lookalike.serving.grpc.pb import lookalike_pb2 as pb

DOMAIN = "lookalike"
DETAILS = "grpc-status-details-bin"
MAX_MESSAGE = 1000
"""Bytes of a message in metadata, of which many clients take no more than 8 KiB in all, percent-encoded."""

STATUS = {code.value[0]: code for code in StatusCode}


def write_problem(problem: ProblemError, request_id: str) -> pb.Problem:
    """Return a problem as a message: that of one query of several."""
    known = ERROR_CODES[problem.code]
    return pb.Problem(
        code=problem.code,
        title=known.title,
        detail=str(problem),
        request_id=request_id,
        status=known.status,
        retry_after=problem.retry_after,
    )


def write_status(problem: ProblemError, request_id: str) -> Status:
    """Return a problem as the status with details that ends a call."""
    details = [ErrorInfo(reason=problem.code, domain=DOMAIN, metadata={"request_id": request_id})]
    packed = [_pack(detail) for detail in details]
    if problem.retry_after is not None:
        retry = RetryInfo()
        retry.retry_delay.FromNanoseconds(round(problem.retry_after * 1e9))
        packed.append(_pack(retry))
    return Status(code=ERROR_CODES[problem.code].grpc, message=shorten(str(problem)), details=packed)


def shorten(text: str) -> str:
    """Return as much of a text as fits into the metadata of an answer."""
    data = text.encode("utf-8", "replace")
    return text if len(data) <= MAX_MESSAGE else data[:MAX_MESSAGE].decode("utf-8", "ignore") + " …"


def _pack(message: ErrorInfo | RetryInfo) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed
