"""From a request to a query: everything that can be wrong with one has its own answer."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from data.errors import FilterError
from serving.models import DEFAULT_K, SearchRequest
from serving.problems import ProblemError, sentence
from serving.service import Ranking
from serving.settings import Limits
from serving.threads import in_thread
from tasks.indexing.filters import Condition, parse

FORM_FIELDS = ("image", "k", "filter", "offset")
MAX_FILTER_LENGTH = 4096
LARGE_JSON = 64 * 1024  # from here on it is parsed in a thread, so that other queries do not wait

_ONE_OF = "Send exactly one of `image`, `product_id` and `vector`."


@dataclass(frozen=True, slots=True)
class ImageQuery:
    """Find what looks like a picture."""

    image: bytes
    ranking: Ranking


@dataclass(frozen=True, slots=True)
class ProductQuery:
    """Find what looks like a product."""

    product: str
    ranking: Ranking


@dataclass(frozen=True, slots=True)
class VectorQuery:
    """Find what is near a vector."""

    vector: NDArray[np.float32]
    ranking: Ranking


Query = ImageQuery | ProductQuery | VectorQuery


async def read_query(request: Request, limits: Limits) -> Query:
    """Return the query in a request's body, a form or JSON. Raises `ProblemError`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _from_form(await _read_form(request, limits), limits)
    if kind == "application/json" or kind.endswith("+json"):
        body = await request.body()
        if len(body) < LARGE_JSON:
            return from_json(body, limits)
        return await in_thread(lambda: from_json(body, limits), name="parse query")
    if not kind:
        raise ProblemError("no_query", f"The request has no body. {_ONE_OF}")
    detail = f"The body is {kind!r}: send multipart/form-data with a field `image`, or application/json."
    raise ProblemError("unsupported_media_type", detail)


def from_json(body: bytes, limits: Limits) -> Query:
    """Return the query in a JSON body. Raises `ProblemError`."""
    try:
        found = SearchRequest.model_validate_json(body)
    except ValidationError as error:
        raise _json_problem(error) from None  # the chain would hold the whole body in memory
    given = [name for name in ("image", "product_id", "vector") if getattr(found, name) is not None]
    if not given:
        raise ProblemError("no_query", f"There is nothing to search for. {_ONE_OF}")
    if len(given) > 1:
        raise ProblemError("several_queries", f"There are {' and '.join(f'`{name}`' for name in given)}. {_ONE_OF}")
    ranking = make_ranking(found.k, found.offset, found.filter, limits)
    if found.image is not None:
        return ImageQuery(_decode(found.image), ranking)
    if found.product_id is not None:
        return ProductQuery(found.product_id, ranking)
    return VectorQuery(_vector(found.vector or []), ranking)


def make_ranking(k: int, offset: int, filters: Sequence[str], limits: Limits) -> Ranking:
    """Return how to rank. Raises `ProblemError` for what is out of range or not understood."""
    if not 1 <= k <= limits.max_k:
        raise ProblemError("bad_k", f"`k` is {k}: ask for 1 to {limits.max_k:,} hits.")
    if not 0 <= offset <= limits.max_offset:
        raise ProblemError("bad_offset", f"`offset` is {offset}: skip 0 to {limits.max_offset:,} hits.")
    return Ranking(k, offset, make_conditions(filters, limits))


def make_conditions(filters: Sequence[str], limits: Limits) -> tuple[Condition, ...]:
    """Return the filters, read. Raises `ProblemError` for too many, or one that is not understood."""
    if len(filters) > limits.max_filters:
        raise ProblemError("too_many_filters", f"There are {len(filters)} filters: send {limits.max_filters} at most.")
    return tuple(_condition(text) for text in filters)


def _condition(text: str) -> Condition:
    if len(text) > MAX_FILTER_LENGTH:
        raise ProblemError("bad_filter", f"A filter has more than {MAX_FILTER_LENGTH} letters: send a shorter one.")
    try:
        return parse(text)
    except FilterError as error:
        raise ProblemError("bad_filter", sentence(str(error))) from error


def _vector(numbers: Sequence[float]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what does not fit becomes Infinity, and is refused as that
        return np.asarray(numbers, dtype=np.float32)


def _decode(text: str) -> bytes:
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        detail = f"`image` is not base64 ({error}): encode the picture's bytes, or send it as a form."
        raise ProblemError("malformed_base64", detail) from error


def _json_problem(error: ValidationError) -> ProblemError:  # noqa: PLR0911 - one for each kind
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    said = sentence(first["msg"])
    match first["type"], first["loc"][:1]:
        case "json_invalid", _:
            return ProblemError("malformed_json", f"The body is not JSON: {said}")
        case "finite_number", _:
            return ProblemError("vector_not_finite", "The vector holds NaN or Infinity: send finite numbers only.")
        case "extra_forbidden", _:
            known = ", ".join(SearchRequest.model_fields)
            return ProblemError("unknown_field", f"There is no field {where!r}; the fields are: {known}.")
        case _, ("k",):
            return ProblemError("bad_k", f"`k` must be a whole number: {said}")
        case _, ("offset",):
            return ProblemError("bad_offset", f"`offset` must be a whole number: {said}")
        case _, ("filter", *_):
            return ProblemError("bad_filter", f"`filter` must be a text or a list of texts: {said}")
    return ProblemError("bad_field", f"`{where}`: {said}" if where else f"The body must be an object: {said}")


class _FormParser(MultiPartParser):
    """Keeps files in memory: the limit on the body already bounds them, and a server may have no disk to write to."""

    spool_max_size = 2**40


async def _read_form(request: Request, limits: Limits) -> FormData:
    parser = _FormParser(
        request.headers,
        request.stream(),
        max_files=2,  # one too many, so that it can be told
        max_fields=len(FORM_FIELDS) + limits.max_filters + 8,
        max_part_size=MAX_FILTER_LENGTH * 4,
    )
    try:
        return await parser.parse()
    except (MultiPartException, ValueError, LookupError) as error:
        said = sentence(str(getattr(error, "message", error)))
        raise ProblemError("malformed_multipart", f"The form cannot be read: {said}") from error


async def _from_form(form: FormData, limits: Limits) -> Query:
    try:
        _check_fields(form)
        image = await _form_image(form)
        filters = [_text(value, "filter") for value in form.getlist("filter")]
        k = _number(form, "k", DEFAULT_K)
        offset = _number(form, "offset", 0)
        return ImageQuery(image, make_ranking(k, offset, filters, limits))
    finally:
        await form.close()


def _check_fields(form: FormData) -> None:
    others = [name for name in form if name not in FORM_FIELDS]
    if not others:
        return
    if others[0] in {"product_id", "vector"}:
        if "image" in form:
            raise ProblemError("several_queries", f"There are `image` and `{others[0]}`. {_ONE_OF}")
        raise ProblemError("no_query", f"A form takes a picture only: send `{others[0]}` as JSON.")
    detail = f"There is no field {others[0][:100]!r} in this form; the fields are: {', '.join(FORM_FIELDS)}."
    raise ProblemError("unknown_field", detail)


async def _form_image(form: FormData) -> bytes:
    images = form.getlist("image")
    if not images:
        raise ProblemError("no_query", "The form has no picture: send one as the file field `image`.")
    if len(images) > 1:
        raise ProblemError("several_queries", "The form has several fields `image`: send one picture at a time.")
    if not isinstance(images[0], UploadFile):
        raise ProblemError("no_query", "The field `image` holds text: send the picture as a file, with a file name.")
    return await images[0].read()


def _number(form: FormData, name: str, default: int) -> int:
    values = form.getlist(name)
    if not values:
        return default
    text = _text(values[-1], name).strip()
    if not text.removeprefix("-").isdecimal() or len(text) > 18:
        raise ProblemError(f"bad_{name}", f"`{name}` is {text[:40]!r}: send a whole number.")
    return int(text)


def _text(value: UploadFile | str, name: str) -> str:
    if isinstance(value, str):
        return value
    raise ProblemError("bad_field", f"`{name}` is a file: send it as text.")
