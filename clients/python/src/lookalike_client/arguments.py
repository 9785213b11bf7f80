"""Arguments of a search: their types, for people and type checkers, and checks of them before anything is sent."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from lookalike_client.examples import Crop

Condition = str | Mapping[str, Any]


class SearchOptions(TypedDict, total=False):
    """How hits are chosen, and what is sent of them."""

    k: int
    offset: int
    filter: Condition | Sequence[Condition]
    min_score: float | None
    group_by: str | None
    collapse: Literal["duplicates", "exact"] | None
    combine: Literal["mean", "best"]
    weights: Mapping[str, float]
    explain: bool
    facets: str | Sequence[str]
    facets_of: Literal["products", "hits"]
    fields: str | Sequence[str]
    sort: str | None
    reach: int
    snapshot: str | None


class QueryArguments(SearchOptions, total=False):
    """What to search with, beside a picture, and the options."""

    product: str
    vector: Any
    url: str
    text: str
    weight: float
    positive: Sequence[Any]
    negative: Sequence[Any]
    negative_weight: float
    crop: Crop


@dataclass(frozen=True, slots=True)
class _Check:
    """What an argument must be: in words, and as a test of it."""

    words: str
    holds: Callable[[Any], bool]


def _is_int(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_condition(value: Any) -> bool:
    return isinstance(value, str | Mapping)


def _is_list(value: Any, holds: Callable[[Any], bool]) -> bool:
    return holds(value) or (isinstance(value, Sequence) and all(map(holds, value)))


def _is_crop(value: Any) -> bool:
    return isinstance(value, Sequence) and len(value) == 4 and all(map(_is_number, value))


_TEXTS = _Check("a text or a list of texts", lambda value: _is_list(value, _is_text))
_INT = _Check("a whole number", _is_int)
_NUMBER = _Check("a number", _is_number)
_TEXT = _Check("a text", _is_text)
_EXAMPLES = _Check(
    "a list of examples", lambda value: isinstance(value, Sequence) and not isinstance(value, str | bytes)
)

_OPTIONS: Mapping[str, _Check] = {
    "k": _INT,
    "offset": _INT,
    "filter": _Check("a condition or a list of conditions", lambda value: _is_list(value, _is_condition)),
    "min_score": _NUMBER,
    "group_by": _TEXT,
    "collapse": _TEXT,
    "combine": _TEXT,
    "weights": _Check(
        "an object of channels and numbers",
        lambda value: isinstance(value, Mapping) and all(map(_is_text, value)) and all(map(_is_number, value.values())),
    ),
    "explain": _Check("true or false", lambda value: isinstance(value, bool)),
    "facets": _TEXTS,
    "facets_of": _TEXT,
    "fields": _TEXTS,
    "sort": _TEXT,
    "reach": _INT,
    "snapshot": _TEXT,
}
_LISTED = ("offset", "filter", "facets", "facets_of", "sort", "snapshot")
_QUERY: Mapping[str, _Check] = {
    "product": _TEXT,
    "url": _TEXT,
    "text": _TEXT,
    "weight": _NUMBER,
    "vector": _Check("a vector", lambda value: not isinstance(value, str | bytes)),
    "positive": _EXAMPLES,
    "negative": _EXAMPLES,
    "negative_weight": _NUMBER,
    "crop": _Check("left, top, right and bottom as four numbers", _is_crop),
}


def check_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is given, without None. Raises TypeError for an unknown name or a wrong type."""
    return _check(given, {**_OPTIONS, **_QUERY})


def check_list_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a list of products. Raises TypeError."""
    return _check(given, {name: _OPTIONS[name] for name in _LISTED} | {"limit": _INT, "find": _TEXT})


def split_options(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options as JSON has them, and the rest."""
    options = {name: _as_json(name, value) for name, value in given.items() if name in _OPTIONS}
    return options, {name: value for name, value in given.items() if name not in _OPTIONS}


def _check(given: Mapping[str, Any], checks: Mapping[str, _Check]) -> dict[str, Any]:
    present = {name: value for name, value in given.items() if value is not None}
    for name, value in present.items():
        if name not in checks:
            raise TypeError(f"there is no argument {name!r}; the arguments are: {', '.join(checks)}")
        if not checks[name].holds(value):
            raise TypeError(f"{name} is {type(value).__name__}: give {checks[name].words}")
    return present


def _as_json(name: str, value: Any) -> Any:
    """NumPy's numbers are none that JSON knows; one text is as good as a list of it."""
    if name in {"k", "offset", "reach"}:
        return int(value)
    if name == "weights":
        return {channel: float(weight) for channel, weight in value.items()}
    if name == "min_score":
        return float(value)
    if name in {"filter", "facets", "fields"}:
        return [value] if isinstance(value, str | Mapping) else list(value)
    return value
