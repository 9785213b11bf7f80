"""Plans: what an operation costs at worst, and which snapshot it asks, known before any part of it runs.

Fields under `@skip` count, too. A search whose hits are each searched for costs as many searches as there may be hits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLCompositeType,
    GraphQLError,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    SelectionSetNode,
    VariableValues,
    get_argument_values,
    get_named_type,
    get_variable_values,
    validate,
)

from lookalike.serving.errors import ProblemError
from lookalike.serving.graphql.document import Question
from lookalike.serving.graphql.problems import explain_validation, explain_value
from lookalike.serving.query.options import QueryOptions
from lookalike.serving.search.suggestions import MAX_SUGGESTED, SUGGESTED
from lookalike.serving.settings import Graphql, Limits

SEARCHES = frozenset({"search", "similar"})
DEFAULT_LIMIT = 24
_DEFAULT_K: int = QueryOptions.model_fields["k"].default
_EXAMPLES = ("positive", "negative")


@dataclass(slots=True)
class Plan:
    """What an operation amounts to at worst.

    Attributes:
        cost: as how many requests it counts.
        results: how many hits and products it may return.
        pictures: how many must be encoded.
        snapshots: those that it names.
        needs_snapshot: whether it asks for anything but the schema.
    """

    cost: int = 0
    results: int = 0
    pictures: int = 0
    snapshots: set[str] = field(default_factory=set)
    needs_snapshot: bool = False

    @property
    def snapshot(self) -> str | None:
        """The snapshot to ask, None for the one that is served."""
        return next(iter(self.snapshots), None)


def make_plan(schema: GraphQLSchema, question: Question, settings: Graphql, limits: Limits) -> Plan:
    """Check an operation by the rules of GraphQL and by the limits. Raises `ProblemError`."""
    _validate(schema, question, settings)
    variables = get_variable_values(
        schema, question.operation.variable_definitions or (), dict(question.variables), max_errors=1
    )
    if not isinstance(variables, VariableValues):
        raise explain_value(variables[0])
    planner = _Planner(question.fragments, variables, settings, limits)
    try:
        root = schema.get_root_type(question.operation.operation)
        assert root is not None  # noqa: S101 - it was validated
        planner.walk(question.operation.selection_set, root, 1)
    except GraphQLError as error:
        raise explain_value(error) from None
    plan = planner.plan
    if plan.pictures > limits.max_pictures:
        detail = f"The operation has {plan.pictures} pictures: send {limits.max_pictures} at most."
        raise ProblemError("too_many_pictures", detail)
    if len(plan.snapshots) > 1:
        detail = "An operation is answered from one snapshot: name the same in each `snapshot`, or ask twice."
        raise ProblemError("bad_field", detail)
    return plan


def _validate(schema: GraphQLSchema, question: Question, settings: Graphql) -> None:
    try:
        errors = validate(schema, question.document, max_errors=1, hide_suggestions=not settings.introspection)
    except RecursionError:
        raise ProblemError("operation_too_large", "The operation is nested too deeply: ask for less.") from None
    if errors:
        raise explain_validation(errors[0])


@dataclass(slots=True)
class _Planner:
    fragments: Mapping[str, FragmentDefinitionNode]
    variables: VariableValues
    settings: Graphql
    limits: Limits
    plan: Plan = field(default_factory=Plan)

    def walk(self, chosen: SelectionSetNode, parent: GraphQLCompositeType, times: int) -> None:
        """Count what is chosen of an object that there may be so many times."""
        for node in chosen.selections:
            if isinstance(node, InlineFragmentNode):
                self.walk(node.selection_set, parent, times)
            elif isinstance(node, FragmentSpreadNode):
                self.walk(self.fragments[node.name.value].selection_set, parent, times)
            elif isinstance(node, FieldNode):
                self._count(node, parent, times)

    def _count(self, node: FieldNode, parent: GraphQLCompositeType, times: int) -> None:
        name = node.name.value
        if name.startswith("__"):
            if name != "__typename" and not self.settings.introspection:
                raise ProblemError("invalid_operation", "This server does not tell its schema: its docs do.")
            return
        assert isinstance(parent, GraphQLObjectType | GraphQLInterfaceType)  # noqa: S101 - there are no unions
        declared = parent.fields[name]
        self.plan.needs_snapshot = True
        inside = times * self._count_calls(
            parent.name, name, get_argument_values(declared, node, self.variables), times
        )
        kind = get_named_type(declared.type)
        if node.selection_set is not None and isinstance(kind, GraphQLObjectType):
            self.walk(node.selection_set, kind, inside)

    def _count_calls(self, parent: str, name: str, given: Mapping[str, Any], times: int) -> int:
        """Count a field; return how many objects it may return each time."""
        if name in SEARCHES:
            return self._count_search(given.get("query") or given.get("options") or {}, times)
        if parent != "Query":
            return 1
        self._add(1, 0)
        most = 1
        if name == "products":
            most = self._bound(given.get("limit", DEFAULT_LIMIT))
        elif name == "suggest":
            most = min(self._bound(given.get("limit", SUGGESTED)), MAX_SUGGESTED)
        elif name == "products_by_id":
            most = len(given["ids"])
        self._add(0, most)
        return most

    def _count_search(self, options: Mapping[str, Any], times: int) -> int:
        hits = self._bound(options.get("k", _DEFAULT_K))
        self._add(times, times * hits)
        snapshot = options.get("snapshot")
        if snapshot is not None:
            self.plan.snapshots.add(snapshot)
        examples = [options, *(one for name in _EXAMPLES for one in options.get(name) or ())]
        self.plan.pictures += sum(one.get("image") is not None or one.get("url") is not None for one in examples)
        return hits

    def _bound(self, wanted: Any) -> int:
        """Return how many there may be; what asks for more is refused where it is answered."""
        return min(max(wanted, 0), self.limits.max_k) if isinstance(wanted, int) else 0

    def _add(self, cost: int, results: int) -> None:
        self.plan.cost += cost
        self.plan.results += results
        for count, most, what in (
            (self.plan.cost, self.settings.max_cost, "searches and other questions"),
            (self.plan.results, self.settings.max_results, "hits and products"),
        ):
            if count > most:
                detail = f"The operation may come to more than {most:,} {what}: ask for fewer `k`, or split it."
                raise ProblemError("operation_too_large", detail)
