"""The gateway: `POST /graphql`, one operation at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from graphql import GraphQLSchema, build_schema
from starlette.requests import Request
from starlette.responses import Response

from lookalike.serving.background import in_thread
from lookalike.serving.codes import ERROR_CODES
from lookalike.serving.context import RequestContext, current
from lookalike.serving.errors import ProblemError
from lookalike.serving.graphql.document import Question, read_question
from lookalike.serving.graphql.operation import running
from lookalike.serving.graphql.plan import Plan, make_plan
from lookalike.serving.graphql.problems import explain_failure, write_error
from lookalike.serving.graphql.schema import make_schema
from lookalike.serving.replies import elapsed_ms, encode
from lookalike.serving.runtime import Runtime

PATH = "/graphql"
LARGE_JSON = 64 * 2**10
"""From here on a body is parsed in a thread, so that other queries do not wait."""


class Gateway:
    """Answers operations. Whoever asks was let in before."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.settings = runtime.settings.graphql
        self.schema = make_schema()
        self.rules: GraphQLSchema = build_schema(self.schema.as_str())
        """The same schema without what answers it: documents are checked by it."""

    async def answer(self, request: Request) -> Response:
        """Answer one request."""
        asked = current() or RequestContext()
        asked.gateway = "graphql"
        try:
            question = await self._read(request)
            if question.kind == "subscription":
                raise ProblemError("invalid_operation", "A subscription takes a WebSocket: open one at this address.")
            request.scope["route"] = Kind(question.kind)
            plan = self.plan(question, asked)
            reply = await self._execute(question, plan, asked, request.scope["root_path"])
        except ProblemError as problem:
            return _refuse(problem, asked)
        body = await self.runtime.service.write(lambda: encode(reply), hits=plan.results)
        return _respond(body, 200)

    def plan(self, question: Question, asked: RequestContext) -> Plan:
        """Check an operation, and charge what it costs at worst, before any part of it runs. Raises `ProblemError`."""
        plan = make_plan(self.rules, question, self.settings, self.runtime.settings.limits)
        self.runtime.admission.charge(asked, plan.cost - 1)  # one was charged when it was let in
        return plan

    async def _read(self, request: Request) -> Question:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and not kind.endswith("+json"):
            # what a page may send without asking first must not be taken for a question
            raise ProblemError("unsupported_media_type", f"The body is {kind[:100]!r}: send application/json.")
        if request.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
            raise ProblemError("unsupported_media_type", "The body is encoded: send it without `Content-Encoding`.")
        body = await request.body()
        if len(body) < LARGE_JSON:
            return read_question(body, self.settings)
        return await in_thread(lambda: read_question(body, self.settings), name="parse operation")

    async def _execute(self, question: Question, plan: Plan, asked: RequestContext, root: str) -> dict[str, Any]:
        with running(self.runtime, asked, plan, root) as operation:
            name = question.operation.name
            result = await self.schema.execute(
                question.text,
                variable_values=dict(question.variables),
                context_value=operation,
                root_value=question.document,
                operation_name=None if name is None else name.value,
            )
        reply: dict[str, Any] = {"data": result.data}
        if result.errors:
            reply["errors"] = [
                write_error(explain_failure(error, asked.id), asked.id, error.path) for error in result.errors
            ]
        return {**reply, "extensions": _extensions(asked, operation.snapshot if plan.needs_snapshot else None)}


class Kind:
    """Stands for a route where requests are measured: the kind of an operation, never a caller's text."""

    def __init__(self, kind: str) -> None:
        self.path = kind


def _extensions(asked: RequestContext, snapshot: str | None) -> dict[str, Any]:
    named = {} if snapshot is None else {"snapshot": snapshot}
    return {**named, "took_ms": elapsed_ms(asked), "request_id": asked.id}


def _refuse(problem: ProblemError, asked: RequestContext) -> Response:
    """Answer what was not run at all, with the status that its code has."""
    headers = {} if problem.retry_after is None else {"retry-after": str(math.ceil(problem.retry_after))}
    body = encode({"errors": [write_error(problem, asked.id)], "extensions": _extensions(asked, None)})
    return _respond(body, ERROR_CODES[problem.code].status, headers)


def _respond(body: bytes, status: int, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        body,
        status_code=status,
        media_type="application/json",
        headers={"cache-control": "no-store", **(headers or {})},
    )
