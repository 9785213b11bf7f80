"""Bodies: a request's body becomes a query or a batch, by its content type."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from starlette.requests import Request

from serving.examples import Query
from serving.forms import read_form
from serving.problems import ProblemError
from serving.queries import ONE_OF, Batch, batch_from_body, from_body
from serving.settings import Limits
from serving.threads import in_thread

LARGE_JSON = 64 * 1024  # from here on it is parsed in a thread, so that other queries do not wait

T = TypeVar("T")


async def read_query(request: Request, limits: Limits) -> Query:
    """Return the query in a request's body, a form or JSON. Raises `ProblemError`."""
    kind = _kind(request)
    if kind == "multipart/form-data":
        return await read_form(request, limits)
    if _is_json(kind):
        return await _parsed(request, lambda body: from_body(body, limits))
    if not kind:
        raise ProblemError("no_query", f"The request has no body. {ONE_OF}")
    detail = f"The body is {kind!r}: send multipart/form-data with a field `image`, or application/json."
    raise ProblemError("unsupported_media_type", detail)


async def read_batch(request: Request, limits: Limits) -> Batch:
    """Return the queries in a request's body, which must be JSON. Raises `ProblemError`."""
    kind = _kind(request)
    if _is_json(kind):
        return await _parsed(request, lambda body: batch_from_body(body, limits))
    if not kind:
        raise ProblemError("no_query", "The request has no body: send `queries` as JSON.")
    raise ProblemError("unsupported_media_type", f"The body is {kind!r}: send application/json.")


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _is_json(kind: str) -> bool:
    return kind == "application/json" or kind.endswith("+json")


async def _parsed(request: Request, parse: Callable[[bytes], T]) -> T:
    body = await request.body()
    if len(body) < LARGE_JSON:
        return parse(body)
    return await in_thread(lambda: parse(body), name="parse query")
