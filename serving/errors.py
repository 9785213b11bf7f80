"""Problems: what ends a request, by its code, for every gateway."""

from __future__ import annotations

from collections.abc import Mapping

from lookalike.data.errors import FilterError, ImageRejectedError, InputError, LookalikeError, UnknownProductError
from lookalike.serving.codes import ERROR_CODES

MAX_DETAIL = 2000  # letters

_CODES: Mapping[type[LookalikeError], str] = {
    UnknownProductError: "unknown_product",
    FilterError: "bad_filter",
    InputError: "bad_request",
}


class ProblemError(LookalikeError):
    """A request ends with a problem: `code` is a key of `ERROR_CODES`, the message says what to do.

    `retry_after` says in how many seconds it is worth trying again, where that is known. Only so much of the message is
    kept: it may quote what the caller sent, and that may be megabytes.
    """

    def __init__(self, code: str, detail: str, *, retry_after: float | None = None) -> None:
        super().__init__(detail if len(detail) <= MAX_DETAIL else f"{detail[:MAX_DETAIL]} …")
        self.code = code
        self.retry_after = retry_after


def as_problem(error: LookalikeError) -> ProblemError:
    """Translate an error of the layers below; what no caller can help becomes `internal`."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, ImageRejectedError):
        code = f"image_{error.reason}"
        return ProblemError(code if code in ERROR_CODES else "image_unreadable", sentence(str(error)))
    code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), "internal")
    detail = str(error) if code != "internal" else "the server could not answer; try again, and tell its operator"
    return ProblemError(code, sentence(detail))


def sentence(text: str) -> str:
    """Return `text` as a sentence: a capital and a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def overload_problem(seconds: float) -> ProblemError:
    """Return the problem of a full queue that takes so long to empty."""
    wait = max(1, round(seconds))
    detail = f"Too many queries are waiting: try again in {wait} s."
    return ProblemError("overloaded", detail, retry_after=wait)


def deadline_problem() -> ProblemError:
    """Return the problem of a query whose time ran out while it waited."""
    return ProblemError("deadline_exceeded", "The query's time ran out while it waited: try again later.")


def encoder_problem() -> ProblemError:
    """Return the problem of a picture that the model could not encode."""
    return ProblemError("internal", "The encoder failed on this picture. Try again, and tell the server's operator.")
