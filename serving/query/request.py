"""Queries and batches of them, as JSON or as another gateway read them: each fault has its own answer."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WithJsonSchema, WrapValidator
from pydantic_core import from_json

from lookalike.serving.errors import ProblemError, sentence
from lookalike.serving.query.fields import UNKNOWN_FIELD, Number, RequestModel
from lookalike.serving.query.options import MOST_WEIGHT, QueryOptions, check_options, field_problem, only_texts
from lookalike.serving.query.query import (
    NEGATIVE_WEIGHT,
    EncoderVector,
    Example,
    Picture,
    PictureUrl,
    ProductId,
    Query,
    Text,
    make_crop,
)
from lookalike.serving.settings import Limits
from lookalike.tasks.search.filters import OPERATORS
from lookalike.tasks.search.words.tokens import tokenise

MAX_JSON_VALUES = 1_000_000  # a value takes up to a hundred bytes; a batch of large vectors has some 100,000
MAX_VECTOR = 65_536
MAX_TEXT = 512  # letters
ONE_OF = (
    "Send exactly one of `image`, `url`, `product_id`, `vector`, `text` and `positive`; a `text` may stand beside any "
    "of the first four."
)

_LOOKS = ("image", "url", "product_id", "vector")
_KINDS = (*_LOOKS, "text")

CropBox = Annotated[
    list[Number],
    Field(fail_fast=True),
]


def _keep_bytes(given: Any, check: ValidatorFunctionWrapHandler) -> Any:
    return given if isinstance(given, bytes) else check(given)


# JSON holds no bytes: where other gateways do, they are the picture itself, or little-endian 32-bit floats
EncodedPicture = Annotated[str, WrapValidator(_keep_bytes)]
Vector = Annotated[list[Number], Field(fail_fast=True, max_length=MAX_VECTOR), WrapValidator(_keep_bytes)]


class ExampleRequest(RequestModel):
    """An example: exactly one of `image`, `url`, `product_id`, `vector` and `text`."""

    image: EncodedPicture | None = Field(
        None,
        description="A picture as base64; a `data:` URL is understood too. In a form it is a file.",
        json_schema_extra={"format": "byte"},
    )
    url: str | None = Field(None, description="Where a picture is, for servers that fetch from that host.")
    product_id: str | None = Field(None, description="A product of the catalogue; it is left out of the hits.")
    vector: Vector | None = Field(None, description="A vector of the snapshot's encoder, of any length but zero.")
    text: str | None = Field(
        None,
        description="Words that titles and attributes have, 512 letters at most; the last may be the beginning of one. "
        "Beside a picture, a product or a vector: what looks like it, and is called so.",
    )
    weight: Annotated[Number, Field(ge=0, le=MOST_WEIGHT)] = Field(
        1.0, description="How much a `text` counts, beside 1 for all pictures, products and vectors together."
    )
    crop: CropBox | None = Field(
        None,
        description="The part of the picture that counts: left, top, right, bottom as fractions from 0 to 1 of the "
        "picture as it stands upright; the whole picture without this field.",
        examples=[[0.1, 0.0, 0.6, 0.9]],
    )


class ExamplesRequest(ExampleRequest):
    """What is searched for: one of `image`, `url`, `product_id`, `vector`, `text` and `positive`.

    A `text` may stand beside any of the first four.
    """

    positive: list[ExampleRequest] | None = Field(
        None,
        min_length=1,
        fail_fast=True,
        description="Several examples: pictures of one thing, things that hits shall look like, or texts.",
    )
    negative: list[ExampleRequest] = Field(
        default_factory=list, fail_fast=True, description="Examples of what hits shall look less like."
    )
    negative_weight: Annotated[Number, Field(ge=0, le=1)] = Field(
        NEGATIVE_WEIGHT, description="How much those count, beside 1 for the others together."
    )


class SearchRequest(QueryOptions, ExamplesRequest):
    """A query: one of `image`, `url`, `product_id`, `vector`, `text` and `positive`."""


_NO_EXAMPLES = dict.fromkeys(ExamplesRequest.model_fields)
"""What is left out of a query's options: examples may be megabytes of base64."""
_A_QUERY = {"$ref": f"#/components/schemas/{SearchRequest.__name__}"}


class BatchRequest(RequestModel):
    """Several queries; all are answered from one snapshot, and each for itself."""

    queries: Annotated[list[Any], WithJsonSchema({"type": "array", "items": _A_QUERY, "minItems": 1})] = Field(
        description="Queries as of `POST /v1/search`, without `snapshot`."
    )
    snapshot: str | None = Field(None, description="The snapshot to ask; the one that is served without this field.")


@dataclass(frozen=True, slots=True)
class Batch:
    """Queries as they were sent, understood or not, and the snapshot to ask, None for the one that is served."""

    queries: tuple[Query | ProblemError, ...]
    snapshot: str | None


def read_query(body: bytes, limits: Limits) -> Query:
    """Return the query in a JSON body. Raises `ProblemError`."""
    return read_search(parse_json(body), limits)


def read_batch(body: bytes, limits: Limits) -> Batch:
    """Return the queries in a JSON body; what is wrong with one is the answer to that one. Raises `ProblemError`."""
    return read_queries(parse_json(body), limits)


def read_queries(given: Any, limits: Limits) -> Batch:
    """Return the queries in an object with the fields of `BatchRequest`. Raises `ProblemError`."""
    try:
        found = BatchRequest.model_validate(given)
    except ValidationError as error:
        raise explain_fault(error, BatchRequest) from None  # the chain would hold the whole body in memory
    if not found.queries:
        raise ProblemError("no_query", "The batch has no queries: send at least one.")
    if len(found.queries) > limits.max_queries:
        detail = f"There are {len(found.queries)} queries: send {limits.max_queries} at most."
        raise ProblemError("too_many_queries", detail)
    queries = tuple(_read_one_of_batch(given, limits) for given in found.queries)
    pictures = sum(query.pictures for query in queries if isinstance(query, Query))
    if pictures > limits.max_pictures:
        detail = f"The batch has {pictures} pictures: send {limits.max_pictures} at most."
        raise ProblemError("too_many_pictures", detail)
    return Batch(queries, found.snapshot)


def check_count(examples: int, limits: Limits) -> None:
    """Raise `ProblemError` for too many examples."""
    if examples > limits.max_examples:
        raise ProblemError("too_many_examples", f"There are {examples} examples: send {limits.max_examples} at most.")


def parse_json(body: bytes) -> Any:
    """Return what a body of JSON holds. Raises `ProblemError`, before it is parsed where it holds too much."""
    # each value comes after one of these; a short body need not be counted, and that takes as long as parsing it
    if len(body) > MAX_JSON_VALUES and sum(map(body.count, (b",", b"[", b"{"))) > MAX_JSON_VALUES:
        detail = f"The body holds more than {MAX_JSON_VALUES:,} values: send shorter lists, or several requests."
        raise ProblemError("body_too_large", detail)
    try:
        return from_json(body)
    except ValueError as error:
        raise ProblemError("malformed_json", f"The body is not JSON: {sentence(str(error))}") from None


def read_search(given: Any, limits: Limits) -> Query:
    """Return the query in an object with the fields of `SearchRequest`. Raises `ProblemError`."""
    try:
        found = SearchRequest.model_validate(given)
    except ValidationError as error:
        raise explain_fault(error, SearchRequest) from None
    check_count(len(found.positive or [None]) + len(found.negative), limits)
    return Query(
        _read_positive(found),
        check_options(found.model_copy(update=_NO_EXAMPLES), limits),
        tuple(_read_example(example, f"negative.{place}") for place, example in enumerate(found.negative)),
        found.negative_weight,
    )


def _read_one_of_batch(given: Any, limits: Limits) -> Query | ProblemError:
    if isinstance(given, dict) and given.get("snapshot") is not None:
        return ProblemError("bad_field", "`snapshot` belongs to the whole batch: all is answered from one.")
    try:
        return read_search(given, limits)
    except ProblemError as problem:
        return problem


def _read_positive(found: ExamplesRequest) -> tuple[Example, ...]:
    given = [name for name in (*_KINDS, "positive") if getattr(found, name) is not None]
    if not given:
        raise ProblemError("no_query", f"There is nothing to search for. {ONE_OF}")
    if len(given) > 1 and (given[-1] != "text" or len(given) > 2):
        raise ProblemError("several_queries", f"There are {' and '.join(f'`{name}`' for name in given)}. {ONE_OF}")
    if found.positive is None:
        return tuple(_read_kind(found, name) for name in given)
    if found.crop is not None:
        raise ProblemError("bad_crop", "Each picture in `positive` has a `crop` of its own: move it there.")
    return tuple(_read_example(example, f"positive.{place}") for place, example in enumerate(found.positive))


def _read_example(found: ExampleRequest, where: str) -> Example:
    given = [name for name in _KINDS if getattr(found, name) is not None]
    if len(given) != 1:
        code = "several_queries" if given else "no_query"
        raise ProblemError(code, f"`{where}` must have exactly one of {', '.join(f'`{name}`' for name in _KINDS)}.")
    return _read_kind(found, given[0])


def _read_kind(found: ExampleRequest, kind: str) -> Example:
    """Return the example that is named by one field; a text may stand beside it."""
    crop = None if found.crop is None else make_crop(found.crop)
    if kind == "image" and found.image is not None:
        return Picture(decode_picture(found.image), crop)
    if kind == "url" and found.url is not None:
        return PictureUrl(found.url, crop)
    if crop is not None and found.image is None and found.url is None:
        raise ProblemError("bad_crop", f"A `{kind}` has nothing to crop: send a picture.")
    if kind == "text" and found.text is not None:
        return Text(check_text(found.text), found.weight)
    if kind == "product_id" and found.product_id is not None:
        return ProductId(found.product_id)
    return EncoderVector(_as_vector(found.vector or []))


def read_text(values: Sequence[object]) -> Text | None:
    """Return the text in the values that a form or an address has of `text`, None without. Raises `ProblemError`."""
    texts = only_texts("text", values)
    if len(texts) > 1:
        raise ProblemError("bad_text", f"There are {len(texts)} fields `text`: send one, or `positive` as JSON.")
    return Text(check_text(texts[0])) if texts else None


def check_text(text: str) -> str:
    """Return a text to search for. Raises `ProblemError`."""
    if len(text) > MAX_TEXT:
        raise ProblemError("bad_text", f"`text` has {len(text):,} letters: send {MAX_TEXT} at most.")
    if not tokenise(text):
        raise ProblemError("bad_text", "`text` holds no word: send letters or digits.")
    return text


def _as_vector(numbers: Sequence[float] | bytes) -> NDArray[np.float32]:
    if isinstance(numbers, bytes):
        return _unpack(numbers)
    with np.errstate(over="ignore"):  # what does not fit becomes Infinity, and is refused as that
        return np.fromiter(numbers, np.float32, len(numbers))  # `asarray` takes twice as long to look at them


def _unpack(packed: bytes) -> NDArray[np.float32]:
    if len(packed) % 4 or len(packed) > 4 * MAX_VECTOR:
        detail = f"`vector` has {len(packed):,} bytes: send 4 for each number, and {MAX_VECTOR:,} numbers at most."
        raise ProblemError("bad_field", detail)
    return np.frombuffer(packed, dtype="<f4").astype(np.float32, copy=False)


def decode_picture(text: str | bytes) -> bytes:
    """Return a picture that was sent as base64, or as it is. Raises `ProblemError`."""
    if isinstance(text, bytes):
        return text
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        detail = f"`image` is not base64 ({error}): encode the picture's bytes, or send it as a form."
        raise ProblemError("malformed_base64", detail) from error


def explain_fault(error: ValidationError, model: type[RequestModel]) -> ProblemError:
    """Return the problem of the first fault in an object that is to be a `model`."""
    first = error.errors(include_url=False, include_input=False)[0]  # all lists and names fail fast: there are few
    names = [part for part in first["loc"] if isinstance(part, str)]
    where = ".".join(str(part) for part in first["loc"])
    is_no_object = first["type"] == "model_type"  # pydantic would name our class
    said = "Input should be an object." if is_no_object else sentence(first["msg"])
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
    if names:
        return field_problem("weights" if "weights" in names else names[-1], said, where)
    return ProblemError("bad_field", f"`{where}`: {said}" if where else f"The body must be an object: {said}")
