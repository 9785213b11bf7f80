"""Calls: what each method of a client sends, and how it reads the reply. Nothing here does I/O.

`Client` and `AsyncClient` are thin shells around these: each sends the request of a call, decides about retries by
`RetryPolicy`, and gives the reply to the call's `read`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from lookalike_client.addresses import PRODUCTS, product_path
from lookalike_client.arguments import check_list_arguments, split_options
from lookalike_client.embeddings import (
    Embeddings,
    read_embeddings,
    read_pictures,
    write_embed_form,
    write_embed_json,
)
from lookalike_client.query import Query, ReadQuery, write_form
from lookalike_client.replies import (
    MakeHit,
    MakeProduct,
    Reply,
    read_held,
    read_image,
    read_product,
    read_products,
    read_search,
    read_snapshot,
    read_suggestions,
)
from lookalike_client.results import HeldSnapshot, ProductFields, Products, SearchResult, Snapshot, Suggestion

ResultT = TypeVar("ResultT")
ItemT = TypeVar("ItemT", bound=ProductFields)


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent: `path` is percent-encoded, and stands below the server's address."""

    method: str
    path: str
    params: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Call(Generic[ResultT]):
    """A request, and what becomes of its reply. All calls may be sent again: none changes anything."""

    request: Request
    read: Callable[[Reply], ResultT]


def search(query: Query, make: MakeHit[ItemT]) -> Call[SearchResult[ItemT]]:
    """Search. Reads the query's files: raises OSError, TypeError."""
    return search_read(ReadQuery(query), make)


def search_read(read: ReadQuery, make: MakeHit[ItemT]) -> Call[SearchResult[ItemT]]:
    """Search with a query whose files are read."""
    form = read.to_form()
    request = _json_request("/v1/search", read.to_json()) if form is None else _form_request("/v1/search", form)
    return Call(request, partial(read_search, make=make))


def embed(pictures: Sequence[Any], *, projected: bool, snapshot: str | None) -> Call[Embeddings]:
    """Make vectors. Reads the files: raises OSError, TypeError."""
    found = read_pictures(pictures)
    options: dict[str, Any] = {"projected": projected, "encoding": "base64"}
    if snapshot is not None:
        options["snapshot"] = snapshot
    form = write_embed_form(found, options)
    if form is None:
        return Call(_json_request("/v1/embed", write_embed_json(found, options)), read_embeddings)
    return Call(_form_request("/v1/embed", form), read_embeddings)


def product(product_id: str, make: MakeProduct[ItemT]) -> Call[ItemT]:
    """Read a product."""
    path, params = product_path(product_id)
    return Call(Request("GET", path, tuple(params.items())), partial(read_product, make=make))


def products(arguments: Mapping[str, Any], make: MakeProduct[ItemT]) -> Call[Products[ItemT]]:
    """Read some products. Raises TypeError."""
    checked = check_list_arguments(arguments)
    options, rest = split_options(checked)
    params = list(_params({**rest, **options}))
    return Call(Request("GET", PRODUCTS, tuple(params)), partial(read_products, make=make))


def suggest(
    text: str, *, limit: int | None, filter: str | Sequence[str] | None, snapshot: str | None
) -> Call[tuple[Suggestion, ...]]:
    """Complete or correct a text. Raises TypeError."""
    checked = check_list_arguments({"limit": limit, "filter": filter, "snapshot": snapshot})
    options, rest = split_options(checked)
    params = [("text", text), *_params({**rest, **options})]
    return Call(Request("GET", "/v1/suggest", tuple(params)), read_suggestions)


def image(product_id: str, size: int | None, view: int | None) -> Call[bytes]:
    """Read one of a product's pictures."""
    path, params = product_path(product_id, "image")
    asked = {name: str(value) for name, value in (("size", size), ("view", view)) if value is not None}
    return Call(Request("GET", path, tuple({**params, **asked}.items())), read_image)


def snapshot() -> Call[Snapshot]:
    """Read what is served."""
    return Call(Request("GET", "/v1/snapshots/current"), read_snapshot)


def snapshots() -> Call[tuple[HeldSnapshot, ...]]:
    """Read what is in memory."""
    return Call(Request("GET", "/v1/snapshots"), read_held)


def _json_request(path: str, body: Mapping[str, Any]) -> Request:
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return Request("POST", path, headers={"Content-Type": "application/json"}, content=content)


def _form_request(path: str, form: Sequence[tuple[str, str | bytes]]) -> Request:
    kind, content = write_form(form)
    return Request("POST", path, headers={"Content-Type": kind}, content=content)


def _params(options: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in options.items():
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, str | int | float):
                raise TypeError(f"{name} is {type(one).__name__}: in a list of products give conditions as texts")
            yield name, str(one)
