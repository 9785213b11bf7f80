"""A listing: which products to list, read for all gateways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from lookalike.serving.errors import ProblemError, sentence
from lookalike.serving.query.options import QueryOptions, check_lists, field_problem
from lookalike.serving.settings import Limits

LISTED = 24
MAX_LISTED = 100
MAX_SKIPPED = 10**9
OPTIONS = ("filter", "facets", "facets_of", "sort", "snapshot")
"""The options of a query that a list of products has, too."""


def read_listing(given: Mapping[str, Any], limits: Limits) -> QueryOptions:
    """Return the options in an object with `limit`, `offset` and fields of OPTIONS. Raises `ProblemError`."""
    limit, offset = given.get("limit", LISTED), given.get("offset", 0)
    if not 1 <= limit <= MAX_LISTED:
        raise ProblemError("bad_limit", f"`limit` is {limit}: ask for 1 to {MAX_LISTED} products.")
    if not 0 <= offset <= MAX_SKIPPED:
        raise ProblemError("bad_offset", f"`offset` is {offset}: skip 0 to {MAX_SKIPPED:,} products.")
    chosen = {name: given[name] for name in OPTIONS if given.get(name) is not None}
    try:
        options = QueryOptions.model_validate({"k": limit, "offset": offset, **chosen})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise field_problem(str(first["loc"][0]), sentence(first["msg"])) from None
    check_lists(options, limits)
    if options.order is not None and options.order.attribute is None:
        raise ProblemError("bad_sort", "`sort`: products of a list have no score; sort them by an attribute.")
    return options
