"""From JSON to a query: everything that can be wrong with one has its own answer.

Parameters: a query's text fields, as forms and addresses have them.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from pydantic_core import from_json
from starlette.datastructures import ImmutableMultiDict

from lookalike.data.errors import FilterError
from lookalike.data.snapshots.duplicates import Kind
from lookalike.serving.errors import ProblemError, sentence
from lookalike.serving.rest.schema import (
    DEFAULT_K,
    UNKNOWN_FIELD,
    BatchRequest,
    ConditionRequest,
    ExampleRequest,
    SearchRequest,
)
from lookalike.serving.search.crops import make_crop
from lookalike.serving.search.query import (
    EncoderVector,
    Example,
    Picture,
    PictureUrl,
    ProductId,
    Query,
    Ranking,
    parse_fields,
)
from lookalike.serving.settings import Limits
from lookalike.tasks.search.filters import MEMBERSHIPS, OPERATORS, PRESENCES, Condition, parse

MAX_FILTER_LENGTH = 4096
MAX_FILTER_VALUES = 1000
MAX_JSON_VALUES = 1_000_000  # a value takes up to a hundred bytes; a batch of large vectors has some 100,000
ONE_OF = "Send exactly one of `image`, `url`, `product_id`, `vector` and `positive`."
COLLAPSES: Mapping[str, Kind] = {"duplicates": "near", "exact": "exact"}

_KINDS = ("image", "url", "product_id", "vector")

Given: TypeAlias = ImmutableMultiDict[str, Any]


@dataclass(frozen=True, slots=True)
class Batch:
    """Queries as they were sent, understood or not, and the snapshot to ask, None for the one that is served."""

    queries: tuple[Query | ProblemError, ...]
    snapshot: str | None


def from_body(body: bytes, limits: Limits) -> Query:
    """Return the query in a JSON body. Raises `ProblemError`."""
    return _checked(_read_json(body), limits)


def batch_from_body(body: bytes, limits: Limits) -> Batch:
    """Return the queries in a JSON body; what is wrong with one is the answer to that one. Raises `ProblemError`."""
    given = _read_json(body)
    try:
        found = BatchRequest.model_validate(given)
    except ValidationError as error:
        raise _json_problem(error, BatchRequest) from None  # the chain would hold the whole body in memory
    if not found.queries:
        raise ProblemError("no_query", "The batch has no queries: send at least one.")
    if len(found.queries) > limits.max_queries:
        detail = f"There are {len(found.queries)} queries: send {limits.max_queries} at most."
        raise ProblemError("too_many_queries", detail)
    queries = tuple(_one_of_batch(given, limits) for given in found.queries)
    pictures = sum(query.pictures for query in queries if isinstance(query, Query))
    if pictures > limits.max_pictures:
        detail = f"The batch has {pictures} pictures: send {limits.max_pictures} at most."
        raise ProblemError("too_many_pictures", detail)
    return Batch(queries, found.snapshot)


def make_ranking(
    k: int,
    offset: int,
    filters: Sequence[str | ConditionRequest],
    limits: Limits,
    *,
    min_score: float | None = None,
    group_by: str | None = None,
    collapse: str | None = None,
) -> Ranking:
    """Return how to rank. Raises `ProblemError` for what is out of range or not understood."""
    if not 1 <= k <= limits.max_k:
        raise ProblemError("bad_k", f"`k` is {k}: ask for 1 to {limits.max_k:,} hits.")
    if not 0 <= offset <= limits.max_offset:
        raise ProblemError("bad_offset", f"`offset` is {offset}: skip 0 to {limits.max_offset:,} hits.")
    if min_score is not None and not -1 <= min_score <= 1:
        raise ProblemError("bad_min_score", f"`min_score` is {min_score:g}: scores are from -1 to 1.")
    if collapse is not None and collapse not in COLLAPSES:
        raise ProblemError("bad_collapse", f"`collapse` is {collapse[:100]!r}: send {' or '.join(COLLAPSES)}.")
    kind = None if collapse is None else COLLAPSES[collapse]
    return Ranking(k, offset, make_conditions(filters, limits), min_score, group_by, kind)


def make_conditions(filters: Sequence[str | ConditionRequest], limits: Limits) -> tuple[Condition, ...]:
    """Return the filters, read. Raises `ProblemError` for too many, or one that is not understood."""
    if len(filters) > limits.max_filters:
        raise ProblemError("too_many_filters", f"There are {len(filters)} filters: send {limits.max_filters} at most.")
    return tuple(_checked_condition(_condition(given)) for given in filters)


def make_facets(names: Sequence[str], limits: Limits) -> tuple[str, ...]:
    """Return the attributes to count, each once. Raises `ProblemError` for too many."""
    facets = tuple(dict.fromkeys(names))
    if len(facets) > limits.max_facets:
        raise ProblemError("bad_facets", f"There are {len(facets)} facets: ask for {limits.max_facets} at most.")
    return facets


def check_count(examples: int, limits: Limits) -> None:
    """Raise `ProblemError` for too many examples."""
    if examples > limits.max_examples:
        raise ProblemError("too_many_examples", f"There are {examples} examples: send {limits.max_examples} at most.")


def _read_json(body: bytes) -> Any:
    """Return what the body holds. Raises `ProblemError`, before anything is made of it where it holds too much."""
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_JSON_VALUES:  # each value comes after one of these
        detail = f"The body holds more than {MAX_JSON_VALUES:,} values: send shorter lists, or several requests."
        raise ProblemError("body_too_large", detail)
    try:
        return from_json(body)
    except ValueError as error:
        raise ProblemError("malformed_json", f"The body is not JSON: {sentence(str(error))}") from None


def _checked(given: Any, limits: Limits) -> Query:
    try:
        found = SearchRequest.model_validate(given)
    except ValidationError as error:
        raise _json_problem(error, SearchRequest) from None
    return _query(found, limits)


def _one_of_batch(given: Any, limits: Limits) -> Query | ProblemError:
    if isinstance(given, dict) and given.get("snapshot") is not None:
        return ProblemError("bad_field", "`snapshot` belongs to the whole batch: all is answered from one.")
    try:
        return _checked(given, limits)
    except ProblemError as problem:
        return problem


def _query(found: SearchRequest, limits: Limits) -> Query:
    check_count(len(found.positive or [None]) + len(found.negative), limits)
    ranking = make_ranking(
        found.k,
        found.offset,
        found.filter,
        limits,
        min_score=found.min_score,
        group_by=found.group_by,
        collapse=found.collapse,
    )
    return Query(
        _positive(found),
        ranking,
        tuple(_example(example, f"negative.{place}") for place, example in enumerate(found.negative)),
        found.negative_weight,
        make_facets(found.facets, limits),
        parse_fields(found.fields),
        found.snapshot,
    )


def _positive(found: SearchRequest) -> tuple[Example, ...]:
    given = [name for name in (*_KINDS, "positive") if getattr(found, name) is not None]
    if not given:
        raise ProblemError("no_query", f"There is nothing to search for. {ONE_OF}")
    if len(given) > 1:
        raise ProblemError("several_queries", f"There are {' and '.join(f'`{name}`' for name in given)}. {ONE_OF}")
    if found.positive is None:
        return (_example(found, ""),)
    if found.crop is not None:
        raise ProblemError("bad_crop", "Each picture in `positive` has a `crop` of its own: move it there.")
    return tuple(_example(example, f"positive.{place}") for place, example in enumerate(found.positive))


def _example(found: ExampleRequest, where: str) -> Example:
    given = [name for name in _KINDS if getattr(found, name) is not None]
    if len(given) != 1:
        code = "several_queries" if given else "no_query"
        raise ProblemError(code, f"`{where}` must have exactly one of {', '.join(f'`{name}`' for name in _KINDS)}.")
    crop = None if found.crop is None else make_crop(found.crop)
    if found.image is not None:
        return Picture(_decoded(found.image), crop)
    if found.url is not None:
        return PictureUrl(found.url, crop)
    if crop is not None:
        raise ProblemError("bad_crop", f"A `{given[0]}` has nothing to crop: send a picture.")
    if found.product_id is not None:
        return ProductId(found.product_id)
    return EncoderVector(_vector(found.vector or []))


def _checked_condition(condition: Condition) -> Condition:
    if len(condition.values) > MAX_FILTER_VALUES:
        detail = f"A filter has {len(condition.values)} values: send {MAX_FILTER_VALUES:,} at most."
        raise ProblemError("bad_filter", detail)
    return condition


def _condition(given: str | ConditionRequest) -> Condition:
    return _parsed(given) if isinstance(given, str) else _structured(given)


def _structured(given: ConditionRequest) -> Condition:
    value, what = given.value, f"The filter on {given.attribute[:100]!r}"
    if given.operator in PRESENCES:
        if value is not None:
            raise ProblemError("bad_filter", f"{what} has a value, and `{given.operator}` takes none.")
        return Condition(given.attribute, given.operator)
    if given.operator in MEMBERSHIPS:
        if not isinstance(value, list) or not value:
            raise ProblemError("bad_filter", f"{what}: `{given.operator}` takes a list of values.")
        return Condition(given.attribute, given.operator, tuple(_written(one) for one in value))
    if value is None:
        raise ProblemError("bad_filter", f"{what} has no value: `is null` asks for products without one.")
    if isinstance(value, list):
        raise ProblemError("bad_filter", f"{what} has a list of values: write `in`, or send one value.")
    return Condition(given.attribute, given.operator, (_written(value),))


def _written(value: bool | float | str) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parsed(text: str) -> Condition:
    if len(text) > MAX_FILTER_LENGTH:
        raise ProblemError("bad_filter", f"A filter has more than {MAX_FILTER_LENGTH} letters: send a shorter one.")
    try:
        return parse(text)
    except FilterError as error:
        raise ProblemError("bad_filter", sentence(str(error))) from error


def _vector(numbers: Sequence[float]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what does not fit becomes Infinity, and is refused as that
        return np.asarray(numbers, dtype=np.float32)


def _decoded(text: str) -> bytes:
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        detail = f"`image` is not base64 ({error}): encode the picture's bytes, or send it as a form."
        raise ProblemError("malformed_base64", detail) from error


_CODES = {
    "k": ("bad_k", "`k` must be a whole number"),
    "offset": ("bad_offset", "`offset` must be a whole number"),
    "min_score": ("bad_min_score", "`min_score` must be a number"),
    "crop": ("bad_crop", "`crop` must be four numbers"),
    "fields": ("bad_fields", "`fields` must be a text or a list of texts"),
    "facets": ("bad_facets", "`facets` must be a text or a list of texts"),
    "group_by": ("bad_group_by", "`group_by` must be a text"),
    "collapse": ("bad_collapse", "`collapse` must be `duplicates` or `exact`"),
}


def _json_problem(error: ValidationError, model: type[BatchRequest | SearchRequest]) -> ProblemError:
    first = error.errors(include_url=False, include_input=False)[0]  # all lists and names fail fast: there are few
    names = [part for part in first["loc"] if isinstance(part, str)]
    where = ".".join(str(part) for part in first["loc"])
    said = sentence(first["msg"])
    if names and names[0] == "filter":  # what pydantic says of either form would hide the other
        place = ".".join(where.split(".")[:2])
        detail = (
            f"`{place}` is no condition: send a text such as category=shoes, or an object with `attribute`, `operator` "
            f"({', '.join(OPERATORS)}) and `value`."
        )
        return ProblemError("bad_filter", detail)
    if first["type"] == UNKNOWN_FIELD:
        known = ", ".join(ExampleRequest.model_fields if where else model.model_fields)
        name = ".".join([*filter(None, [where]), first["ctx"]["name"][:100]])
        return ProblemError("unknown_field", f"There is no field {name!r}; the fields are: {known}.")
    if first["type"] == "finite_number" and "vector" in names:
        return ProblemError("vector_not_finite", "The vector holds NaN or Infinity: send finite numbers only.")
    if names and names[-1] in _CODES:
        code, wanted = _CODES[names[-1]]
        return ProblemError(code, f"{wanted}: {said}")
    return ProblemError("bad_field", f"`{where}`: {said}" if where else f"The body must be an object: {said}")


def make_query(positive: Sequence[Example], given: Given, limits: Limits) -> Query:
    """Return the query for some examples, ranked as the fields say. Raises `ProblemError`."""
    ranking = make_ranking(
        _number(given, "k", DEFAULT_K),
        _number(given, "offset", 0),
        texts_of(given, "filter"),
        limits,
        min_score=_fraction(given, "min_score"),
        group_by=_text(given, "group_by"),
        collapse=_text(given, "collapse"),
    )
    return Query(
        tuple(positive),
        ranking,
        facets=make_facets(split(texts_of(given, "facets")), limits),
        fields=parse_fields(split(texts_of(given, "fields"))),
        snapshot=_text(given, "snapshot"),
    )


def split(texts: list[str]) -> list[str]:
    """Return names that were sent one by one, or with commas between them."""
    return [part.strip() for text in texts for part in text.split(",") if part.strip()]


def texts_of(given: Given, name: str) -> list[str]:
    """Return all values of a field. Raises `ProblemError` for a file."""
    values = given.getlist(name)
    if not all(isinstance(value, str) for value in values):
        raise ProblemError("bad_field", f"`{name}` is a file: send it as text.")
    return values


def _number(given: Given, name: str, default: int) -> int:
    text = _text(given, name)
    if text is None:
        return default
    if not text.strip().removeprefix("-").isdecimal() or len(text) > 18:
        raise ProblemError(f"bad_{name}", f"`{name}` is {text[:40]!r}: send a whole number.")
    return int(text)


def _fraction(given: Given, name: str) -> float | None:
    text = _text(given, name)
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ProblemError(f"bad_{name}", f"`{name}` is {text[:40]!r}: send a number.")
    return number


def _text(given: Given, name: str) -> str | None:
    """Return a field's last value, None where it is not there."""
    texts = texts_of(given, name)
    return texts[-1] if texts else None
