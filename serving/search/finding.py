"""Finding: what the search service does with one snapshot, without waiting for anything. It runs in a thread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lookalike.data.errors import FilterError, InputError
from lookalike.serving.errors import ProblemError, sentence
from lookalike.serving.live.loaded import LoadedSnapshot
from lookalike.serving.query.options import QueryOptions
from lookalike.serving.query.query import Query
from lookalike.serving.search.answers import Answer, Listing
from lookalike.serving.search.directions import Given, find_ranking, find_words
from lookalike.serving.search.explanations import explain, judge_texts
from lookalike.serving.search.facets import count_facets
from lookalike.serving.search.lookup import match_lookup, rank_lookup
from lookalike.serving.search.rankings import Blend, Ranking, find_views
from lookalike.serving.search.reply_room import ReplyRoom
from lookalike.serving.search.selection import NOTHING, Among, count_hidden, match_hits, select
from lookalike.serving.search.suggestions import suggest
from lookalike.serving.telemetry.metrics import Metrics
from lookalike.tasks.search.filters import Condition, match_products
from lookalike.tasks.search.order import check_order, sort_rows
from lookalike.tasks.search.searcher import Searcher
from lookalike.tasks.search.words.words import Completion

Mask = NDArray[np.bool_]


def find_answer(
    loaded: LoadedSnapshot,
    query: Query,
    rows: Sequence[int | None],
    vectors: Sequence[Given],
    room: ReplyRoom,
    metrics: Metrics,
) -> Answer:
    """Answer a query whose examples have these rows, or these vectors. Raises `ProblemError`, `FilterError`."""
    options = query.options
    conditions = options.conditions
    with metrics.stage("search"), _explain_comparison(conditions):
        allowed = loaded.searcher.match(conditions)
        ranking = find_ranking(loaded.searcher, query, rows, vectors)
        among = Among(allowed, {row for row in rows if row is not None})
        found = NOTHING if ranking is None else select(loaded.searcher, ranking, options, among)
        needed = options.hit_fields.needed_attributes if options.hit_fields else None
        views = find_views(ranking, found.rows) if ranking is not None and loaded.searcher.has_views else None
        hits = loaded.searcher.hits(found, needed, room.take, views=views)
        hidden = count_hidden(loaded.searcher, found, options, among)
        explained = explain(ranking, found.rows) if ranking is not None and options.explain else None
    if isinstance(ranking, Blend):
        metrics.texts.labels(judge_texts(ranking)).inc()
    with metrics.stage("facets") if options.facets else nullcontext():
        match = partial(_match_counted, loaded.searcher, ranking, options, among)
        facets = count_facets(loaded.searcher.products, options, match, is_of_filters=options.facets_of == "products")
    total = len(loaded.searcher.products) if allowed is None else int(np.count_nonzero(allowed))
    return Answer(loaded.manifest.id, total, hits, facets, hidden, explained)


def list_products(loaded: LoadedSnapshot, options: QueryOptions, find: str | None, room: ReplyRoom) -> Listing:
    """Return some products that satisfy the conditions, and that a text looks up if there is one."""
    products = loaded.searcher.products
    named = None if find is None else match_lookup(products, find)

    def match(conditions: tuple[Condition, ...]) -> Mask:
        mask = loaded.searcher.match(conditions)
        mask = match_products(products, ()) if mask is None else mask
        return mask if named is None else mask & named

    with _explain_comparison(options.conditions):
        rows = np.flatnonzero(match(options.conditions))
    total, end = len(rows), options.offset + options.k
    if find is not None:
        rows = rank_lookup(products, rows, find)
    if options.order is not None:
        rows = rows[sort_rows(products, rows, options.order, end)]
    shown = products.take(rows[options.offset : end], check=room.take)
    facets = count_facets(products, options, match, is_of_filters=find is None)
    return Listing(loaded.manifest.id, total, shown, facets)


def complete_text(loaded: LoadedSnapshot, text: str, limit: int, options: QueryOptions) -> Sequence[Completion]:
    """Return what a text may become, among the products that satisfy the conditions."""
    products, conditions = loaded.searcher.products, options.conditions
    with _explain_comparison(conditions):
        allowed = match_products(products, conditions) if conditions else None
    return suggest(find_words(loaded.searcher), products, text, limit, allowed)


def check_attributes(loaded: LoadedSnapshot, options: QueryOptions) -> None:
    """Raise `ProblemError` for an attribute that no product has, or that hits cannot be grouped by."""
    types = loaded.searcher.products.attributes
    sent = options.hit_fields.attributes if options.hit_fields else None
    grouped = [] if options.group_by is None else [options.group_by]
    filtered = [condition.name for condition in options.conditions]
    sorted_by = [options.order.attribute] if options.order and options.order.attribute else []
    for name in (*filtered, *options.facets, *sorted(sent or ()), *grouped, *sorted_by):
        if name not in types:
            known = ", ".join(sorted(types)) or "none"
            detail = f"There is no attribute {name[:100]!r}; the attributes are: {known}."
            raise ProblemError("unknown_attribute", detail)
    for name in grouped:
        if pa.types.is_nested(types[name]):
            raise ProblemError("bad_group_by", f"{name!r} is a list: group by an attribute that has one value.")
    if options.order is not None:
        try:
            check_order(options.order, types)
        except InputError as error:
            raise ProblemError("bad_sort", sentence(str(error))) from None


def _match_counted(
    searcher: Searcher,
    ranking: Ranking | None,
    options: QueryOptions,
    among: Among,
    conditions: tuple[Condition, ...],
) -> Mask | None:
    """Return a mask (rows,) of the products that facets of a query count under some of its conditions."""
    is_all = conditions == options.conditions
    allowed = among.allowed if is_all else searcher.match(conditions)
    if options.facets_of == "products":
        return allowed
    return match_hits(searcher, ranking, options, replace(among, allowed=allowed))


@contextmanager
def _explain_comparison(conditions: Sequence[Condition]) -> Iterator[None]:
    """Turn what Arrow says about values that cannot be compared into a filter's problem."""
    try:
        yield
    except (pa.ArrowException, OverflowError, TypeError) as error:
        if not conditions:
            raise
        raise FilterError(f"a filter cannot be applied to its attribute: {error}") from error
