"""Problems as GraphQL tells them: the codes of all gateways in `extensions`, and of bugs no more than that."""

from __future__ import annotations

import logging
import re
from typing import Any

from graphql import GraphQLError

from lookalike.data.errors import LookalikeError
from lookalike.serving.errors import ProblemError, as_problem, sentence
from lookalike.serving.query.options import code_of

_UNKNOWN = re.compile(r"Cannot query field|Unknown argument|not to include unknown field")
_WHERE = re.compile(r"has invalid value at (?P<path>[.\w\[\]]+): (?P<said>.*)", re.DOTALL)
_QUOTED = re.compile(r", found: .*", re.DOTALL)  # what was sent, which may be a picture

_log = logging.getLogger(__name__)


def explain_validation(error: GraphQLError) -> ProblemError:
    """Return the problem of an operation that breaks a rule of GraphQL or of the schema."""
    return _explain_unknown(error) or ProblemError("invalid_operation", _say(error.message))


def explain_value(error: GraphQLError) -> ProblemError:
    """Return the problem of a value that was sent: its code is that of its field, as in all gateways."""
    unknown = _explain_unknown(error)
    if unknown is not None:
        return unknown
    found = _WHERE.search(error.message)
    if found is None:
        return ProblemError("bad_field", _say(error.message))
    name = re.findall(r"[a-z_]+", found["path"])[-1]
    return ProblemError(code_of(name), f"`{name}`: {_say(found['said'])}")


def _explain_unknown(error: GraphQLError) -> ProblemError | None:
    return ProblemError("unknown_field", _say(error.message)) if _UNKNOWN.search(error.message) else None


def _say(message: str) -> str:
    return sentence(_QUOTED.sub("", message))


def explain_failure(error: GraphQLError, request_id: str) -> ProblemError:
    """Return the problem of a field that could not be answered; a bug is logged, and nothing of it told."""
    original = error.original_error
    if isinstance(original, LookalikeError):
        return as_problem(original)
    _log.error("request %s: a field of GraphQL failed", request_id, exc_info=original or error)
    return ProblemError("internal", "The server failed to answer this field: try again, and tell its operator.")


def write_error(problem: ProblemError, request_id: str, path: list[str | int] | None = None) -> dict[str, Any]:
    """Return an error of a GraphQL reply."""
    extensions: dict[str, Any] = {"code": problem.code, "request_id": request_id}
    if problem.retry_after is not None:
        extensions["retry_after"] = problem.retry_after
    error: dict[str, Any] = {"message": str(problem), "extensions": extensions}
    return error if path is None else {**error, "path": path}
