"""Bodies: a request's body becomes a query, a batch or pictures, by its content type; in a form, pictures are files."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from lookalike.serving.background import in_thread
from lookalike.serving.errors import ProblemError, sentence
from lookalike.serving.query.conditions import MAX_FILTER_LENGTH
from lookalike.serving.query.embed_request import EmbedOptions, check_pictures, make_embed_query, read_embed_query
from lookalike.serving.query.options import FLAGS, TEXT_FIELDS, check_options, only_texts, read_options
from lookalike.serving.query.query import Crop, EmbedQuery, Example, Picture, Query, parse_crop
from lookalike.serving.query.request import ONE_OF, Batch, SearchRequest, check_count, explain_fault, read_text
from lookalike.serving.query.request import read_batch as read_json_batch
from lookalike.serving.query.request import read_query as read_json_query
from lookalike.serving.rest.forms import tidy_form
from lookalike.serving.settings import Limits

FIELDS = ("image", "crop", "text", *TEXT_FIELDS)
EMBED_FIELDS = ("image", "crop", *EmbedOptions.model_fields)
_JSON_ONLY = SearchRequest.model_fields.keys() - FIELDS

LARGE_JSON = 64 * 1024  # from here on it is parsed in a thread, so that other queries do not wait

_NAME_IN_ANY_LANGUAGE = re.compile(rb"; *filename\*\s*=[^;']*'[^;']*'([^;\"]*)", re.IGNORECASE)

T = TypeVar("T")


class _FormParser(MultiPartParser):
    """Keeps files in memory: the limit on the body already bounds them, and a server may have no disk to write to."""

    spool_max_size = 2**40

    def on_headers_finished(self) -> None:
        """Take a file whose name is there only as `filename*` (RFC 5987) for one that has `filename`."""
        given = self._current_part.content_disposition
        if given is not None and b"filename*" in given.lower():
            self._current_part.content_disposition = _NAME_IN_ANY_LANGUAGE.sub(rb'; filename="\1"', given)
        super().on_headers_finished()


async def read_form(request: Request, limits: Limits) -> Query:
    """Return the query in a request's form. Raises `ProblemError`."""
    form = await _parse_form(request, limits, files=limits.max_examples)
    try:
        _check_fields(form)
        text = read_text(form.getlist("text"))
        check_count(len(form.getlist("image")) + (text is not None), limits)
        pictures = await _pictures(form) if text is None or "image" in form else ()
        examples: tuple[Example, ...] = pictures if text is None else (*pictures, text)
        return Query(examples, check_options(read_options(form.getlist), limits))
    finally:
        await form.close()


async def read_embed_form(request: Request, limits: Limits) -> EmbedQuery:
    """Return the pictures in a request's form. Raises `ProblemError`."""
    form = await _parse_form(request, limits, files=limits.max_pictures)
    try:
        _check_names(form, EMBED_FIELDS)
        check_pictures(len(form.getlist("image")), limits)
        return make_embed_query(await _pictures(form), _embed_options(form))
    finally:
        await form.close()


def _embed_options(form: FormData) -> EmbedOptions:
    texts = {name: only_texts(name, form.getlist(name)) for name in EmbedOptions.model_fields}
    given: dict[str, Any] = {name: found[-1] for name, found in texts.items() if found}
    if "projected" in given:
        given["projected"] = FLAGS.get(given["projected"], given["projected"])
    try:
        return EmbedOptions.model_validate(given)
    except ValidationError as error:
        raise explain_fault(error, EmbedOptions) from None


async def _parse_form(request: Request, limits: Limits, *, files: int) -> FormData:
    parser = _FormParser(
        request.headers,
        tidy_form(request.stream(), request.headers.get("content-type", "")),
        max_files=files + 1,  # one too many, so that it can be reported
        max_fields=len(FIELDS) + limits.max_filters + files + limits.max_facets + 16,
        max_part_size=MAX_FILTER_LENGTH * 4,
    )
    try:
        return await parser.parse()
    except (MultiPartException, ValueError, LookupError) as error:
        said = sentence(str(getattr(error, "message", error)))
        raise ProblemError("malformed_multipart", f"The form cannot be read: {said}") from error


def _check_fields(form: FormData) -> None:
    others = [name for name in form if name not in FIELDS]
    if not others:
        return
    if others[0] in _JSON_ONLY:
        if "image" in form:
            raise ProblemError("several_queries", f"There are `image` and `{others[0]}`. {ONE_OF}")
        raise ProblemError("no_query", f"A form takes pictures and a text: send `{others[0]}` as JSON.")
    _check_names(form, FIELDS)


def _check_names(form: FormData, known: Sequence[str]) -> None:
    other = next((name for name in form if name not in known), None)
    if other is not None:
        detail = f"There is no field {other[:100]!r} in this form; the fields are: {', '.join(known)}."
        raise ProblemError("unknown_field", detail)


async def _pictures(form: FormData) -> tuple[Picture, ...]:
    images = form.getlist("image")
    if not images:
        raise ProblemError("no_query", "The form has no picture: send one as the file field `image`, or a `text`.")
    crops = _crops(form, len(images))
    return tuple([Picture(await _bytes(image), crop) for image, crop in zip(images, crops, strict=True)])


async def _bytes(image: UploadFile | str) -> bytes:
    if isinstance(image, UploadFile):
        return await image.read()
    raise ProblemError("no_query", "The field `image` holds text: send the picture as a file, with a file name.")


def _crops(form: FormData, pictures: int) -> list[Crop | None]:
    texts = only_texts("crop", form.getlist("crop"))
    if not texts:
        return [None] * pictures
    if len(texts) != pictures:
        detail = (
            f"There are {len(texts)} fields `crop` for {pictures} pictures: send one for each, empty for the whole."
        )
        raise ProblemError("bad_crop", detail)
    return [parse_crop(text) for text in texts]


async def read_query(request: Request, limits: Limits) -> Query:
    """Return the query in a request's body, a form or JSON. Raises `ProblemError`."""
    _check_coding(request)
    kind = _kind(request)
    if kind == "multipart/form-data":
        return await read_form(request, limits)
    if _is_json(kind):
        return await _parse_json(request, lambda body: read_json_query(body, limits))
    if not kind:
        raise ProblemError("no_query", f"The request has no body. {ONE_OF}")
    detail = f"The body is {kind!r}: send multipart/form-data with a field `image`, or application/json."
    raise ProblemError("unsupported_media_type", detail)


async def read_embed(request: Request, limits: Limits) -> EmbedQuery:
    """Return the pictures in a request's body, a form or JSON. Raises `ProblemError`."""
    _check_coding(request)
    kind = _kind(request)
    if kind == "multipart/form-data":
        return await read_embed_form(request, limits)
    if _is_json(kind):
        return await _parse_json(request, lambda body: read_embed_query(body, limits))
    if not kind:
        raise ProblemError("no_query", "The request has no body: send pictures, as files of a form or as JSON.")
    detail = f"The body is {kind!r}: send multipart/form-data with fields `image`, or application/json."
    raise ProblemError("unsupported_media_type", detail)


async def read_batch(request: Request, limits: Limits) -> Batch:
    """Return the queries in a request's body, which must be JSON. Raises `ProblemError`."""
    _check_coding(request)
    kind = _kind(request)
    if _is_json(kind):
        return await _parse_json(request, lambda body: read_json_batch(body, limits))
    if not kind:
        raise ProblemError("no_query", "The request has no body: send `queries` as JSON.")
    raise ProblemError("unsupported_media_type", f"The body is {kind!r}: send application/json.")


def _check_coding(request: Request) -> None:
    coding = request.headers.get("content-encoding", "").strip().lower()
    if coding not in {"", "identity"}:
        detail = f"The body is encoded as {coding[:50]!r}: send it as it is, without `Content-Encoding`."
        raise ProblemError("unsupported_media_type", detail)


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _is_json(kind: str) -> bool:
    return kind == "application/json" or kind.endswith("+json")


async def _parse_json(request: Request, parse: Callable[[bytes], T]) -> T:
    body = await request.body()
    if len(body) < LARGE_JSON:
        return parse(body)
    return await in_thread(lambda: parse(body), name="parse query")
