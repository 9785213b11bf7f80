"""Replies: what came back, read into results or raised as errors."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol, TypeVar

from lookalike_client.errors import ProblemError, UnexpectedReplyError, problem
from lookalike_client.results import (
    Attribute,
    Encoder,
    Facet,
    HeldSnapshot,
    Like,
    Match,
    ProductFields,
    Products,
    SearchResult,
    Snapshot,
    Suggestion,
    Understood,
    Why,
)

ItemT = TypeVar("ItemT", bound=ProductFields)
ItemT_co = TypeVar("ItemT_co", bound=ProductFields, covariant=True)


class MakeProduct(Protocol[ItemT_co]):
    """Makes a product that knows its client."""

    def __call__(
        self, *, id: str, title: str, attributes: Mapping[str, Any], image_url: str, snapshot: str, pictures: int
    ) -> ItemT_co: ...


class MakeHit(Protocol[ItemT_co]):
    """Makes a hit that knows its client."""

    def __call__(
        self,
        *,
        id: str,
        title: str,
        attributes: Mapping[str, Any],
        image_url: str,
        snapshot: str,
        pictures: int,
        score: float,
        hidden: int,
        why: Why | None,
        view: int | None,
    ) -> ItemT_co: ...


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; the names of `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)

    @property
    def request_id(self) -> str | None:
        """The name of the request in the server's log."""
        return self.headers.get("x-request-id")

    def check(self) -> None:
        """Raise `ProblemError` unless this is an answer."""
        if not 200 <= self.status < 300:
            raise self._problem()

    def json(self) -> dict[str, Any]:
        """Return the object in an answer. Raises `ProblemError`, and `UnexpectedReplyError` if there is none."""
        self.check()
        found = self._object()
        if found is None:
            raise UnexpectedReplyError(f"the reply {self.status} holds no JSON object: is this a Lookalike server?")
        return found

    def _object(self) -> dict[str, Any] | None:
        try:
            found = json.loads(self.content)
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None

    def _problem(self) -> ProblemError:
        found = self._object() or {}
        retry_after = read_retry_after(self.headers.get("retry-after"), datetime.now(UTC))
        if isinstance(found.get("code"), str):
            return read_problem(found, self.status, self.request_id, retry_after)
        detail = f"the reply is {self.status}, and no problem of a Lookalike server: a proxy may have written it"
        if 300 <= self.status < 400:
            detail = f"the reply is {self.status}, and redirects are not followed: give the address it leads to"
        code = f"http_{self.status}"
        return problem(code, detail, status=self.status, request_id=self.request_id, retry_after=retry_after)


def read_problem(
    found: Mapping[str, Any], status: int, request_id: str | None = None, retry_after: float | None = None
) -> ProblemError:
    """Return a problem as RFC 9457 has it, one of a batch too."""
    known = found.get("status")
    return problem(
        str(found.get("code")),
        str(found.get("detail", "")),
        status=known if isinstance(known, int) else status,
        request_id=str(found["request_id"]) if "request_id" in found else request_id,
        retry_after=retry_after,
    )


def read_retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds that `Retry-After` says, as a number or as a date; None if it says nothing."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        return _seconds_until(value, now)
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _seconds_until(value: str, now: datetime) -> float | None:
    try:
        then = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (then.replace(tzinfo=then.tzinfo or UTC) - now).total_seconds())


def read_search(reply: Reply, make: MakeHit[ItemT]) -> SearchResult[ItemT]:
    return read_hits(reply.json(), reply.request_id, make)


def read_hits(found: Mapping[str, Any], request_id: str | None, make: MakeHit[ItemT]) -> SearchResult[ItemT]:
    with Reading("a search"):
        snapshot = str(found["snapshot"])
        hits = tuple(
            make(
                **_product(hit, snapshot),
                score=float(hit["score"]) if "score" in hit else math.nan,
                hidden=int(hit.get("hidden", 0)),
                why=_read_why(hit["why"]) if "why" in hit else None,
                view=int(hit["view"]) if hit.get("view") is not None else None,
            )
            for hit in found["hits"]
        )
        return SearchResult(
            hits=hits,
            snapshot=snapshot,
            took_ms=float(found.get("took_ms", 0.0)),
            facets=_facets(found),
            request_id=request_id,
            understood=_read_understood(found["understood"]) if "understood" in found else None,
            total=int(found["total"]) if "total" in found else None,
        )


def _read_why(found: Mapping[str, Any]) -> Why:
    example = int(found["example"]) if found.get("example") is not None else None
    return Why(scores=found["scores"], words=_read_matches(found["words"]), example=example)


def _read_understood(found: Mapping[str, Any]) -> Understood:
    likes = (
        Like(id=str(one["id"]), title=str(one["title"]), weight=float(one["weight"]))
        for one in found.get("looks_like", ())
    )
    return Understood(
        words=_read_matches(found["words"]),
        unknown=tuple(found["unknown"]),
        looks_like=tuple(likes),
        colours=tuple(map(str, found.get("colours", ()))),
    )


def _read_matches(found: Iterable[Mapping[str, str]]) -> tuple[Match, ...]:
    return tuple(Match(word=one["word"], found=one["found"], how=one["how"]) for one in found)


def read_suggestions(reply: Reply) -> tuple[Suggestion, ...]:
    found = reply.json()
    with Reading("a list of suggestions"):
        return tuple(
            Suggestion(text=str(one["text"]), word=str(one["word"]), products=int(one["products"]))
            for one in found["suggestions"]
        )


def read_product(reply: Reply, make: MakeProduct[ItemT]) -> ItemT:
    found = reply.json()
    with Reading("a product"):
        return make(**_product(found, str(found["snapshot"])))


def read_products(reply: Reply, make: MakeProduct[ItemT]) -> Products[ItemT]:
    found = reply.json()
    with Reading("a list of products"):
        snapshot = str(found["snapshot"])
        return Products(
            products=tuple(make(**_product(one, snapshot)) for one in found["products"]),
            total=int(found["total"]),
            snapshot=snapshot,
            facets=_facets(found),
        )


def read_image(reply: Reply) -> bytes:
    reply.check()
    return reply.content


def read_snapshot(reply: Reply) -> Snapshot:
    found = reply.json()
    with Reading("a snapshot"):
        return Snapshot(
            id=str(found["id"]),
            created_at=datetime.fromisoformat(found["created_at"]),
            products=int(found["products"]),
            encoder=read_encoder(found["encoder"]),
            attribution=found.get("attribution", ""),
            parent=found.get("parent"),
            attributes={
                name: Attribute(type=one["type"], values=one.get("values"))
                for name, one in found.get("attributes", {}).items()
            },
            quality=found.get("quality", {}),
            index=found.get("index", {}),
            channel=found.get("channel", {}),
        )


def read_encoder(found: Mapping[str, Any]) -> Encoder:
    return Encoder(name=found["name"], fingerprint=found["fingerprint"], dimension=int(found["dimension"]))


def read_held(reply: Reply) -> tuple[HeldSnapshot, ...]:
    found = reply.json()
    with Reading("a list of snapshots"):
        return tuple(
            HeldSnapshot(
                id=str(one["id"]),
                state=str(one["state"]),
                since=datetime.fromisoformat(one["since"]),
                queries=int(one["queries"]),
                products=int(one["products"]),
            )
            for one in found["snapshots"]
        )


class Reading:
    """Turns what a reply lacks into `UnexpectedReplyError`: another program may have written it."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, KeyError | TypeError | ValueError | AttributeError):
            raise UnexpectedReplyError(f"the reply is not {self._what}: is this a Lookalike server?") from error


def _product(found: Mapping[str, Any], snapshot: str) -> dict[str, Any]:
    return {
        "id": str(found["id"]),
        "title": found.get("title", ""),
        "attributes": found.get("attributes", {}),
        "image_url": found.get("image_url", ""),
        "snapshot": snapshot,
        "pictures": int(found.get("pictures", 1)),
    }


def _facets(found: Mapping[str, Any]) -> dict[str, Facet]:
    return {
        name: Facet(
            values=one["values"],
            others=int(one["others"]),
            missing=int(one["missing"]),
            low=one.get("min"),
            high=one.get("max"),
        )
        for name, one in found.get("facets", {}).items()
    }
