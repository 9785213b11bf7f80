"""A query's options: how hits are chosen, and what is sent of them. Each is declared once, as a field of a model.

JSON, forms, addresses, both descriptions in OpenAPI and the table in `docs/api.md` follow from the declaration: its
type, its default, its bounds and its description.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, StrictInt, ValidationError
from pydantic_core import PydanticCustomError

from lookalike.data.errors import InputError
from lookalike.data.snapshots.duplicates import Kind
from lookalike.serving.codes import ERROR_CODES
from lookalike.serving.errors import ProblemError, sentence
from lookalike.serving.query.conditions import MAX_FILTER_LENGTH, ConditionRequest, read_condition
from lookalike.serving.query.fields import Number, RequestModel, Texts, as_list
from lookalike.serving.settings import Limits
from lookalike.tasks.search.filters import Condition
from lookalike.tasks.search.order import REACH, Order, parse_order

MAX_REACH = 20_000
"""Hits that a query sorts or counts, at most, and how far groups are looked for."""

HIT_FIELDS = ("title", "attributes", "image_url", "score", "view")
FLAGS: Mapping[str, bool] = {"true": True, "false": False}
_ATTRIBUTE = "attributes."
_DUPLICATES: Mapping[str, Kind] = {"duplicates": "near", "exact": "exact"}

ChannelName = Literal["picture", "words", "meaning", "looks", "shows", "colour"]
"""The ways in which products are found: by how near they are to a picture; and to a text by the words of titles and
attributes, by what titles mean, by what the pictures of like titles look like, by what pictures show, and by the
colours that it names."""
WEIGHTS: Mapping[ChannelName, float] = {
    "picture": 1.0,
    "words": 0.5,
    "meaning": 0.5,
    "looks": 0.1,
    "shows": 0.5,
    "colour": 0.1,
}
"""How much each counts where a query does not say it."""
COLOUR_BESIDE_PICTURE = 0.7
"""How much a colour counts beside a picture, whose own colour is another one."""
WORDS_ALONE = 1.0
"""How much words count in snapshots that know neither what titles mean nor what pictures show."""
MOST_WEIGHT = 100.0


def _each_once(texts: list[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _read_weights(given: Any) -> Any:
    """Read `words=0.5`, or a list of such texts; an object is one already."""
    if given is None:
        return {}
    if isinstance(given, str):
        given = given.split(",")
    if not isinstance(given, list):
        return given
    pairs = [text.partition("=") if isinstance(text, str) else ("", "", "") for text in given]
    try:
        return {name.strip(): float(weight) for name, _, weight in pairs}
    except ValueError:
        raise PydanticCustomError("weights", "write each as words=0.5") from None


Weights = Annotated[dict[ChannelName, Annotated[Number, Field(ge=0, le=MOST_WEIGHT)]], BeforeValidator(_read_weights)]


@dataclass(frozen=True, slots=True)
class HitFields:
    """Some of `HIT_FIELDS`, and the attributes to send: None for all of them."""

    names: frozenset[str]
    attributes: frozenset[str] | None

    @property
    def needed_attributes(self) -> frozenset[str] | None:
        """The attributes that are sent at all, None for all of them."""
        return self.attributes if "attributes" in self.names else frozenset()

    def select(self, hit: Mapping[str, Any]) -> dict[str, Any]:
        """Return the part of a hit that was asked for; its id is always there."""
        kept = {name: value for name, value in hit.items() if name == "id" or name in self.names}
        if self.attributes is not None and "attributes" in kept:
            kept["attributes"] = {name: one for name, one in kept["attributes"].items() if name in self.attributes}
        return kept


class QueryOptions(RequestModel):
    """How hits are chosen, for all kinds of query, and what is sent of them."""

    k: StrictInt = Field(10, description="How many hits.")
    offset: StrictInt = Field(0, description="How many hits to skip.")
    filter: Annotated[list[str | ConditionRequest], Field(fail_fast=True), BeforeValidator(as_list)] = Field(
        default_factory=list,
        description="Conditions that products must satisfy, all of them: `category=shoes`, `price<=50`, "
        "`brand in acme,zeta`, `colour is null`; in JSON each may be an object.",
    )
    min_score: Number | None = Field(
        None,
        description="Leave out hits with a lower score, -1 to 1, as replies show it: a hit's own score leaves it in.",
    )
    group_by: str | None = Field(
        None,
        description="An attribute: of the hits with one value of it, only the best is a hit; products without a value "
        "stand for themselves. `k` and `offset` count groups. The 20,000 nearest are looked at, no more.",
    )
    collapse: Literal["duplicates", "exact"] | None = Field(
        None,
        description="Of the hits that show the same picture only the best is a hit: `exact` for the same file, "
        "`duplicates` for near-duplicates too. `k` and `offset` count what is left.",
    )
    combine: Literal["mean", "best"] = Field(
        "mean",
        description="What several examples in `positive` mean together: `mean`: what is near to the mean of all, as "
        "pictures of one thing are. `best`: what is near to any of them.",
    )
    weights: Weights = Field(
        default_factory=dict,
        description="How much each way to find products counts in a query with `text`: `picture`, `words`, `meaning`, "
        "`looks`, `shows` and `colour`, each from 0 to 100. Without this field `picture` counts 1, and `words` 1 in "
        "snapshots without `meaning` and `shows`, else `words` 0.5, `meaning` 0.5, `looks` 0.1 and `shows` 0.5; "
        "`colour`, where the text names one, 0.1, and 0.7 beside a picture. As text: `words=0.5`.",
    )
    explain: StrictBool = Field(
        False,
        description="Say of each hit what it was found by, of several examples which is the nearest, and of a query "
        "with `text` what was understood.",
    )
    facets: Annotated[Texts, AfterValidator(_each_once)] = Field(
        default_factory=list,
        description="Attributes whose values are counted; `facets_of` says among which products.",
    )
    facets_of: Literal["products", "hits"] = Field(
        "products",
        description="`products`: count all that satisfy the filters, hits or not. `hits`: count the `reach` best hits, "
        "each attribute as if there were no filter on itself, so that its other values stay in sight.",
    )
    fields: Texts = Field(
        default_factory=list,
        description="What to send of each hit beside its `id`: any of `title`, `attributes`, `attributes.NAME`, "
        "`image_url`, `score`, `view`; all without this field.",
    )
    sort: str | None = Field(
        None,
        description="The order of hits: `price:asc`, `added:desc`, any attribute that is a number, a date or a time, "
        "or `score`. Without this field the best come first. The `reach` best hits are sorted, no others.",
    )
    reach: StrictInt = Field(
        REACH, description="How many of the best hits there are to sort, and to count for `facets_of` `hits`."
    )
    snapshot: str | None = Field(
        None,
        description="The snapshot to ask, which an earlier reply named, so that pages fit together; the one that is "
        "served without this field.",
    )

    @cached_property
    def order(self) -> Order | None:
        """The order of hits, None where none is named. Raises `ProblemError`."""
        return None if self.sort is None else _read_order(self.sort)

    @cached_property
    def conditions(self) -> tuple[Condition, ...]:
        """The filters, read. Raises `ProblemError`."""
        return tuple(read_condition(given) for given in self.filter)

    @cached_property
    def hit_fields(self) -> HitFields | None:
        """Which fields of hits are named, None where none is: then all are sent. Raises `ProblemError`."""
        return _read_hit_fields(self.fields)

    @property
    def duplicates(self) -> Kind | None:
        """Which products are one hit together, None where each is its own."""
        return None if self.collapse is None else _DUPLICATES[self.collapse]


def check_options(options: QueryOptions, limits: Limits) -> QueryOptions:
    """Return the options. Raises `ProblemError` for what is beyond a limit or not understood."""
    if not 1 <= options.k <= limits.max_k:
        raise ProblemError("bad_k", f"`k` is {options.k}: ask for 1 to {limits.max_k:,} hits.")
    if not 0 <= options.offset <= limits.max_offset:
        raise ProblemError("bad_offset", f"`offset` is {options.offset}: skip 0 to {limits.max_offset:,} hits.")
    if options.min_score is not None and not -1 <= options.min_score <= 1:
        raise ProblemError("bad_min_score", f"`min_score` is {options.min_score:g}: scores are from -1 to 1.")
    if not 1 <= options.reach <= MAX_REACH:
        raise ProblemError("bad_reach", f"`reach` is {options.reach}: sort and count 1 to {MAX_REACH:,} hits.")
    check_lists(options, limits)
    return options


def check_lists(options: QueryOptions, limits: Limits) -> None:
    """Raise `ProblemError` for too many filters or facets, and for texts that are not understood."""
    if len(options.filter) > limits.max_filters:
        detail = f"There are {len(options.filter)} filters: send {limits.max_filters} at most."
        raise ProblemError("too_many_filters", detail)
    _ = options.conditions
    if len(options.facets) > limits.max_facets:
        detail = f"There are {len(options.facets)} facets: ask for {limits.max_facets} at most."
        raise ProblemError("bad_facets", detail)
    _ = options.hit_fields, options.order


@dataclass(frozen=True, slots=True)
class TextField:
    """An option as forms and addresses have it: as text, by what its type in `QueryOptions` says.

    Attributes:
        type: of one value, as JSON Schema names it.
        choices: the only values, where there are few.
        is_list: whether it may be repeated.
        has_commas: whether one text may hold several names, with commas between them.
    """

    name: str
    type: str
    description: str
    default: Any = None
    choices: tuple[str, ...] = ()
    is_list: bool = False
    has_commas: bool = False

    @property
    def wanted(self) -> str:
        """What a value must be, in words."""
        if self.choices:
            return " or ".join(f"`{choice}`" for choice in self.choices)
        if self.has_commas:
            return "a text or a list of texts"
        if self.type == "boolean":
            return "`true` or `false`"
        return {"integer": "a whole number", "number": "a number"}.get(self.type, "a text")

    def read(self, texts: Sequence[str]) -> Any:
        """Return the value of a field that was sent so often. Raises `ProblemError`."""
        if self.has_commas:
            return [part.strip() for text in texts for part in text.split(",") if part.strip()]
        return list(texts) if self.is_list else self._read_one(texts[-1])

    def _read_one(self, text: str) -> bool | int | float | str:
        if self.type == "boolean":
            if text not in FLAGS:
                raise ProblemError(code_of(self.name), f"`{self.name}` is {text[:40]!r}: send true or false.")
            return FLAGS[text]
        if self.type == "integer":
            if not text.strip().removeprefix("-").isdecimal() or len(text) > 18:
                raise ProblemError(code_of(self.name), f"`{self.name}` is {text[:40]!r}: send a whole number.")
            return int(text)
        if self.type == "number":
            return self._read_number(text)
        if self.choices and text not in self.choices:
            detail = f"`{self.name}` is {text[:100]!r}: send {' or '.join(self.choices)}."
            raise ProblemError(code_of(self.name), detail)
        return text

    def _read_number(self, text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ProblemError(code_of(self.name), f"`{self.name}` is {text[:40]!r}: send a number.")
        return number


def read_options(texts_of: Callable[[str], Sequence[object]]) -> QueryOptions:
    """Return the options of a form or an address; `texts_of` gives all values of a field. Raises `ProblemError`."""
    given = {}
    for name, field in TEXT_FIELDS.items():
        texts = only_texts(name, texts_of(name))
        if texts:
            given[name] = field.read(texts)
    try:
        return QueryOptions.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise field_problem(str(first["loc"][0]), sentence(first["msg"])) from None


def only_texts(name: str, values: Iterable[object]) -> list[str]:
    """Return all values of a field. Raises `ProblemError` for a file."""
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) != len(list(values)):
        raise ProblemError("bad_field", f"`{name}` is a file: send it as text.")
    return texts


def code_of(name: str) -> str:
    """Return the code of a problem with a field: its own where it has one."""
    return f"bad_{name}" if f"bad_{name}" in ERROR_CODES else "bad_field"


def field_problem(name: str, said: str, where: str | None = None) -> ProblemError:
    """Return the problem of a field whose value is wrong; `where` names it in a larger object."""
    code = code_of(name)
    wanted = "four numbers" if name == "crop" else TEXT_FIELDS[name].wanted if name in TEXT_FIELDS else None
    if code == "bad_field" or wanted is None:
        return ProblemError("bad_field", f"`{where or name}`: {said}")
    return ProblemError(code, f"`{name}` must be {wanted}: {said}")


def _text_fields() -> dict[str, TextField]:
    return {name: _text_field(name) for name in QueryOptions.model_fields}


def _text_field(name: str) -> TextField:
    declared = QueryOptions.model_fields[name]
    kind, description = _bare(declared.annotation), declared.description or ""
    if get_origin(kind) is list:
        has_commas = get_args(kind) == (str,)
        return TextField(name, "string", description, is_list=True, has_commas=has_commas)
    if get_origin(kind) is dict:
        return TextField(name, "string", description, is_list=True, has_commas=True)
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    kinds: Mapping[Any, str] = {int: "integer", float: "number", bool: "boolean"}
    return TextField(name, kinds.get(kind, "string"), description, declared.default, choices)


def _bare(annotation: Any) -> Any:
    """Return a type without its annotations for pydantic, and without None."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        others = [kind for kind in get_args(annotation) if kind is not NoneType]
        return _bare(others[0]) if len(others) == 1 else annotation
    return annotation


TEXT_FIELDS: Mapping[str, TextField] = _text_fields()
"""All options, in the order in which they are declared."""


def _read_hit_fields(texts: Sequence[str]) -> HitFields | None:
    if not texts:
        return None
    attributes = frozenset(text.removeprefix(_ATTRIBUTE) for text in texts if text.startswith(_ATTRIBUTE))
    names = {text for text in texts if not text.startswith(_ATTRIBUTE)}
    unknown = sorted(names - {*HIT_FIELDS, "id"})
    if unknown:
        known = ", ".join(HIT_FIELDS)
        detail = f"There is no field {unknown[0][:100]!r} of hits; there are: id, {known} and attributes.NAME."
        raise ProblemError("bad_fields", detail)
    if "attributes" in names or not attributes:
        return HitFields(frozenset(names), None)
    return HitFields(frozenset({*names, "attributes"}), attributes)


def _read_order(text: str) -> Order:
    if len(text) > MAX_FILTER_LENGTH:
        raise ProblemError("bad_sort", f"`sort` has more than {MAX_FILTER_LENGTH} letters: send a shorter one.")
    try:
        return parse_order(text)
    except InputError as error:
        raise ProblemError("bad_sort", f"`sort`: {error}.") from error
