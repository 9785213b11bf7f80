"""Documents: what a caller wrote, parsed within limits, before anything is made of it.

A few hundred letters can ask for millions of fields, by fragments that hold one another. So a document is walked once,
up to the limits, before the rules of GraphQL are checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    parse,
)
from pydantic import Field, ValidationError

from lookalike.serving.errors import ProblemError
from lookalike.serving.query.fields import RequestModel
from lookalike.serving.query.request import explain_fault, parse_json
from lookalike.serving.settings import Graphql

MAX_SELECTIONS = 4_000
"""Fields that an operation may have in all, once its fragments are filled in."""
INTROSPECTION_DEPTH = 16
"""What tools ask of a schema is deeper than any question about products."""
_INTROSPECTION = ("__schema", "__type")


class GraphqlRequest(RequestModel):
    """A request as GraphQL over HTTP has it."""

    query: str
    variables: dict[str, Any] | None = None
    operationName: str | None = None  # noqa: N815 - as the protocol calls it
    extensions: dict[str, Any] | None = Field(None, description="Understood, and of no use here.")


@dataclass(frozen=True, slots=True)
class Question:
    """An operation of a document, and the values of its variables as they were sent."""

    text: str
    document: DocumentNode
    operation: OperationDefinitionNode
    variables: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """What it is, such as `query`."""
        return self.operation.operation.value

    @property
    def fragments(self) -> dict[str, FragmentDefinitionNode]:
        """The document's fragments by name."""
        return _find_fragments(self.document)


def read_question(body: bytes, limits: Graphql) -> Question:
    """Return what a body of JSON asks. Raises `ProblemError`."""
    return read_request(parse_json(body), limits)


def read_request(given: Any, limits: Graphql) -> Question:
    """Return what an object with the fields of `GraphqlRequest` asks. Raises `ProblemError`."""
    if isinstance(given, list):
        raise ProblemError("bad_request", "A list of operations is not taken: ask for several fields in one operation.")
    try:
        found = GraphqlRequest.model_validate(given)
    except ValidationError as error:
        raise explain_fault(error, GraphqlRequest) from None
    document = _parse(found.query, limits)
    operation = _choose(document, found.operationName)
    _Shape(limits, _find_fragments(document)).check(document, operation)
    return Question(found.query, document, operation, found.variables or {})


def _parse(text: str, limits: Graphql) -> DocumentNode:
    if len(text) > limits.max_letters:
        detail = f"`query` has {len(text):,} letters, {limits.max_letters:,} at most: send pictures as variables."
        raise ProblemError("operation_too_large", detail)
    try:
        return parse(text, max_tokens=limits.max_tokens)
    except GraphQLError as error:
        if "Parsing aborted" in error.message:
            detail = (
                f"`query` has more than {limits.max_tokens:,} tokens, or too many levels: use variables, or split it."
            )
            raise ProblemError("operation_too_large", detail) from None
        raise ProblemError("malformed_graphql", f"{error.message.rstrip('.')}{_place(error)}.") from None


def _place(error: GraphQLError) -> str:
    return "".join(f" at line {place.line}, column {place.column}" for place in (error.locations or [])[:1])


def too_deep(most: int) -> ProblemError:
    """Return the problem of an operation with more levels than there may be."""
    return ProblemError("operation_too_large", f"The operation is more than {most} levels deep: ask for less at once.")


def _choose(document: DocumentNode, name: str | None) -> OperationDefinitionNode:
    found = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    if name is not None:
        found = [node for node in found if node.name is not None and node.name.value == name]
    if len(found) != 1:
        what = "no operation" if not found else "several operations"
        raise ProblemError("invalid_operation", f"There is {what} to choose: name one as `operationName`.")
    return found[0]


def _find_fragments(document: DocumentNode) -> dict[str, FragmentDefinitionNode]:
    return {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}


@dataclass(slots=True)
class _Shape:
    """Counts what an operation asks for with its fragments filled in, and stops at the first limit."""

    limits: Graphql
    fragments: Mapping[str, FragmentDefinitionNode]
    selections: int = 0
    aliases: int = 0
    directives: int = 0
    path: list[str] = field(default_factory=list)

    def check(self, document: DocumentNode, operation: OperationDefinitionNode) -> None:
        """Raise `ProblemError` for an operation that is too large, also in what is not chosen of its document."""
        self._walk(operation.selection_set, 1, self.limits.max_depth)
        if len(document.definitions) > self.limits.max_aliases:
            raise ProblemError("operation_too_large", "The document has too many operations and fragments: split it.")

    def _walk(self, chosen: SelectionSetNode, depth: int, most: int) -> None:
        if depth > most:
            raise too_deep(most)
        for node in chosen.selections:
            self._count(len(node.directives or ()), is_alias=isinstance(node, FieldNode) and node.alias is not None)
            if isinstance(node, FieldNode):
                if node.selection_set is not None:
                    is_schema = node.name.value in _INTROSPECTION
                    self._walk(node.selection_set, depth + 1, INTROSPECTION_DEPTH if is_schema else most)
            elif isinstance(node, InlineFragmentNode):
                self._walk(node.selection_set, depth, most)
            elif isinstance(node, FragmentSpreadNode):
                self._enter(node.name.value, depth, most)

    def _enter(self, name: str, depth: int, most: int) -> None:
        if name in self.path:
            raise ProblemError("invalid_operation", f"The fragment {name[:100]!r} holds itself.")
        fragment = self.fragments.get(name)
        if fragment is None:  # validation says so in its words
            return
        if len(self.path) >= most:
            raise too_deep(most)
        self.path.append(name)
        self._walk(fragment.selection_set, depth, most)
        self.path.pop()

    def _count(self, directives: int, *, is_alias: bool) -> None:
        self.selections += 1
        self.aliases += is_alias
        self.directives += directives
        for count, most, what in (
            (self.selections, MAX_SELECTIONS, "fields"),
            (self.aliases, self.limits.max_aliases, "aliases"),
            (self.directives, self.limits.max_directives, "directives"),
        ):
            if count > most:
                raise ProblemError("operation_too_large", f"The operation has more than {most:,} {what}: split it.")
