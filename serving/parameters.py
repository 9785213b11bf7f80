"""Parameters: a query's text fields, as forms and addresses have them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

from starlette.datastructures import ImmutableMultiDict

from serving.examples import Example, Query
from serving.fields import parse_fields
from serving.models import DEFAULT_K
from serving.problems import ProblemError
from serving.queries import make_facets, make_ranking
from serving.settings import Limits

Given: TypeAlias = ImmutableMultiDict[str, Any]


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
