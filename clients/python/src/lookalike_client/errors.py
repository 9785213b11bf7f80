"""Errors: what ends a call. A problem of the server has a class by its code, and unknown codes are `ProblemError`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial


class LookalikeError(Exception):
    """Everything that a server or the way to it can do to a call."""


class ConnectionFailedError(LookalikeError):
    """The server cannot be reached, or hung up before its reply was complete."""


class UnexpectedReplyError(LookalikeError):
    """Something answered, but not as a Lookalike server does."""


class NoStreamError(LookalikeError):
    """A query cannot go over a stream: there is none, or it ended for what was sent. HTTP answers it."""


class ProblemError(LookalikeError):
    """The server refused: `code` never changes its meaning, `detail` says what to do.

    `request_id` finds the request in the server's log. `retry_after` says in how many seconds it is worth trying again,
    where that is known.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        status: int,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Callable[..., ProblemError], tuple[str, str], dict[str, object]]:
        """Let it be copied, and sent to other processes: the arguments are not those of `Exception`."""
        make = partial(type(self), status=self.status, request_id=self.request_id, retry_after=self.retry_after)
        return make, (self.code, self.detail), self.__dict__


class BadRequestError(ProblemError):
    """The request itself is wrong: another try will not help."""


class BadPictureError(BadRequestError):
    """The picture is empty, damaged, too large, or none."""


class UnauthorizedError(ProblemError):
    """The server takes a key, and has none that is valid."""


class ForbiddenError(ProblemError):
    """The key may not do this, or the operator switched it off."""


class NotFoundError(ProblemError):
    """There is nothing at this address."""


class UnknownProductError(NotFoundError):
    """No such product is in the snapshot."""


class SnapshotNotHeldError(ProblemError):
    """The snapshot was replaced too long ago: begin again at the first page."""


class RateLimitedError(ProblemError):
    """The caller asks too often."""


class OverloadedError(ProblemError):
    """The server is busy."""


class NotReadyError(ProblemError):
    """The server serves no snapshot yet, or lacks what it depends on."""


class DeadlineExceededError(ProblemError):
    """There was no answer in time: the server said so, or the call's `timeout` passed."""


class ServerError(ProblemError):
    """Something went wrong in the server."""


_BY_CODE: Mapping[str, type[ProblemError]] = {
    "unauthorized": UnauthorizedError,
    "unknown_product": UnknownProductError,
    "snapshot_not_held": SnapshotNotHeldError,
    "rate_limited": RateLimitedError,
    "overloaded": OverloadedError,
    "not_ready": NotReadyError,
    "access_unavailable": NotReadyError,
    "deadline_exceeded": DeadlineExceededError,
}
_BY_STATUS: Mapping[int, type[ProblemError]] = {
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    429: OverloadedError,
    503: NotReadyError,
    504: DeadlineExceededError,
}
_REFUSED = frozenset({400, 413, 415, 422, 431})


def problem(
    code: str, detail: str, *, status: int, request_id: str | None = None, retry_after: float | None = None
) -> ProblemError:
    """Return the problem, of the class that its code or else its status has."""
    kind = _class_of(code, status)
    return kind(code, detail, status=status, request_id=request_id, retry_after=retry_after)


def _class_of(code: str, status: int) -> type[ProblemError]:
    if code.startswith("image_") and status in _REFUSED:
        return BadPictureError
    known = _BY_CODE.get(code) or _BY_STATUS.get(status)
    if known is not None:
        return known
    if status in _REFUSED:
        return BadRequestError
    return ServerError if status >= 500 else ProblemError


def out_of_time(url: str) -> ProblemError:
    """Return the error of a call whose time is up."""
    detail = f"{url} did not answer in the call's time: give a longer timeout"
    return problem("deadline_exceeded", detail, status=504)


def is_transient(error: LookalikeError) -> bool:
    """Whether the same request may be answered later."""
    if isinstance(error, ProblemError):
        return error.status in {429, 502, 503, 504}
    return isinstance(error, ConnectionFailedError)
