"""Each gateway gives the answers of REST, and its codes: the suite that all are held to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lookalike.data.stores.local import LocalStore
from lookalike.infra.demo.processes import free_port
from lookalike.serving.access.keys import add_key, create_key, remove_key
from lookalike.serving.context import AccessScope
from lookalike.tasks.draft import describe_colours
from tests.serving.conformance.adapters import CannotAskError, Gateway, Lister, Outcome
from tests.serving.conformance.cases import (
    ACCESS,
    EXAMPLES,
    LISTINGS,
    MADE_UP_KEY,
    OPTIONS,
    SUGGESTIONS,
    BatchCase,
    Case,
    attributes_of,
    batches,
    cases,
)
from tests.serving.conformance.gateways import (
    CANNOT_ASK,
    CANNOT_ASK_TOGETHER,
    GATEWAYS,
    LISTERS,
    ONE_BY_ONE,
    SETTINGS,
)
from tests.serving.conftest import make_settings
from tests.support.listening import Listening, listening
from tests.support.shop import Shop, picture, write_pictures

pytestmark = pytest.mark.services

CASES = list(cases())
BATCHES = list(batches())
OTHERS = sorted(set(GATEWAYS) - {"rest"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop with every type of attribute, duplicates, and keys."""
    folder = tmp_path_factory.mktemp("shop")
    shop = Shop(LocalStore(folder / "store"), folder)
    shop.colours = describe_colours(wanted=True)
    shop.text_encoder = "fake"
    rows = write_pictures(folder, 24)
    for number, row in enumerate(rows):
        row["attributes"] |= attributes_of(number)
    Path(rows[20]["image"]).write_bytes(Path(rows[21]["image"]).read_bytes())
    shop.point_at(shop.build_rows(rows, near=[[rows[2]["image"], rows[3]["image"]]]))
    return folder


@pytest.fixture(scope="module")
def keys(folder: Path) -> Mapping[str, str | None]:
    file, found = folder / "keys.json", {}
    for name, scope in (("search", "search"), ("admin", "admin"), ("withdrawn", "search")):
        key, found[name] = create_key(name, [AccessScope(scope)])
        add_key(file, key)
        if name == "withdrawn":
            remove_key(file, key.id)
    return {**found, "none": None, "wrong": found["search"][:-3] + "abc", "made up": MADE_UP_KEY}


class Gateways:
    """A client of each gateway of one server."""

    def __init__(self, server: Listening) -> None:
        self.by_name: Mapping[str, Gateway] = {name: make(server) for name, make in GATEWAYS.items()}

    @property
    def listers(self) -> Mapping[str, Lister]:
        """Those that list products and complete texts."""
        found = {name: one for name, one in self.by_name.items() if isinstance(one, Lister) and name in LISTERS}
        assert found.keys() == set(LISTERS)
        return found

    def close(self) -> None:
        for gateway in self.by_name.values():
            gateway.close()


def start(stack: ExitStack, folder: Path, **changes: Any) -> Gateways:
    """Serve the shop by all gateways."""
    given = {"port": free_port(), "grpc": {"port": free_port()}, **SETTINGS, **changes}
    server = stack.enter_context(listening(make_settings(folder, **given)))
    gateways = Gateways(server)
    stack.callback(gateways.close)
    return gateways


@pytest.fixture(scope="module")
def gateways(folder: Path, keys: Mapping[str, str | None]) -> Iterator[Gateways]:
    with ExitStack() as stack:
        yield start(stack, folder, access={"keys_file": folder / "keys.json"})


def test_there_are_two_hundred_queries() -> None:
    assert len(CASES) >= 200
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_query(gateways: Gateways, keys: Mapping[str, str | None], case: Case) -> None:
    found = gateways.by_name["rest"].search(case.query, keys[case.key])
    assert found.code == case.code
    for name in OTHERS:
        one = gateways.by_name[name]
        if case.name in CANNOT_ASK.get(name, ()):
            with pytest.raises(CannotAskError):
                one.search(case.query, keys[case.key])
        else:
            assert one.search(case.query, keys[case.key]) == found, name


@pytest.mark.parametrize("case", BATCHES, ids=lambda case: case.name)
def test_a_batch(gateways: Gateways, keys: Mapping[str, str | None], case: BatchCase) -> None:
    given = (case.queries, case.snapshot, keys[case.key])
    found = gateways.by_name["rest"].search_batch(*given)
    assert found.code == case.code
    assert [result.code for result in found.results] == list(case.codes)
    for name in OTHERS:
        one = gateways.by_name[name]
        if case.name in CANNOT_ASK_TOGETHER.get(name, ()):
            with pytest.raises(CannotAskError):
                one.search_batch(*given)
        elif name not in ONE_BY_ONE or case.is_of_items:
            assert one.search_batch(*given) == found, name


@pytest.mark.parametrize("name", LISTINGS)
def test_a_list_of_products(gateways: Gateways, keys: Mapping[str, str | None], name: str) -> None:
    listing, code = LISTINGS[name]
    listers = gateways.listers
    found = listers["rest"].list_products(listing, keys["search"])
    assert found.code == code
    for other, one in listers.items():
        assert one.list_products(listing, keys["search"]) == found, other


def test_a_look_up_finds_and_an_order_sorts(gateways: Gateways, keys: Mapping[str, str | None]) -> None:
    rest = gateways.by_name["rest"]
    assert isinstance(rest, Lister)
    assert [hit["id"] for hit in rest.list_products({"find": "a/im"}, keys["search"]).hits] == ["a/image"]
    prices = [hit["attributes"]["price"] for hit in rest.list_products({"sort": "price:desc"}, keys["search"]).hits]
    assert prices == [*sorted((price for price in prices if price is not None), reverse=True), None]


@pytest.mark.parametrize("name", SUGGESTIONS)
def test_suggestions(gateways: Gateways, keys: Mapping[str, str | None], name: str) -> None:
    typed, code = SUGGESTIONS[name]
    found = gateways.listers["rest"].suggest(typed, keys["search"])
    assert found.code == code
    for other, one in gateways.listers.items():
        # the Python client returns suggestions alone, without the snapshot that they are of
        expected = replace(found, snapshot=None) if other == "python" else found
        assert one.suggest(typed, keys["search"]) == expected, other


@pytest.mark.parametrize("name", ACCESS)
def test_suggestions_take_a_key(gateways: Gateways, keys: Mapping[str, str | None], name: str) -> None:
    key, code = ACCESS[name]
    assert {one.suggest({"text": "pro"}, keys[key]).code for one in gateways.listers.values()} == {code}


def test_suggestions_are_not_all_empty(gateways: Gateways, keys: Mapping[str, str | None]) -> None:
    found = gateways.listers["rest"].suggest({"text": "product 1"}, keys["search"]).hits
    assert len(found) == 8
    assert found[0] == {"text": "product 1", "word": "1", "products": 3}  # one title, and two that have it in a note


def test_the_answers_are_not_all_empty(gateways: Gateways, keys: Mapping[str, str | None]) -> None:
    found = gateways.by_name["rest"].search({"product_id": "a", "k": 5, "collapse": "exact"}, keys["search"])
    assert len(found.hits) == 5
    assert {"id", "score", "hidden", "attributes", "title", "image_url"} <= set(found.hits[0])
    assert found.hits[0]["attributes"]["added"].startswith("2026-11-")


@pytest.mark.parametrize("name", ["plain", "filters", "list filter", "date", "nothing left", "groups", "collapsed"])
def test_the_total_is_how_many_products_satisfy_the_filters(
    gateways: Gateways, keys: Mapping[str, str | None], name: str
) -> None:
    """However many hits there are, and of whatever kind the query is."""
    listing = {"filter": OPTIONS[name]["filter"]} if "filter" in OPTIONS[name] else {}
    expected = gateways.listers["rest"].list_products(listing, keys["search"]).total
    for query in (EXAMPLES["product"], EXAMPLES["text"], EXAMPLES["mixed"]):
        found = gateways.by_name["rest"].search({**query, **OPTIONS[name], "k": 1}, keys["search"])
        assert found.total == expected


def test_no_rate_is_left(folder: Path) -> None:
    with ExitStack() as stack:
        gateways = start(stack, folder, rates={"per_address": 1, "burst": 1}).by_name
        gateways["rest"].search({"product_id": "a"}, None)
        for name, gateway in gateways.items():
            assert gateway.search({"product_id": "a"}, None) == Outcome("rate_limited"), name


def test_the_time_is_over(folder: Path) -> None:
    with ExitStack() as stack:
        slow = {"limits": {"request_seconds": 0.3}, "batching": {"wait_ms": 1000, "max_batch": 64}}
        gateways = start(stack, folder, **slow).by_name
        for gateway in gateways.values():
            gateway.search({"product_id": "a"}, None)  # opens what it keeps open

        def ask(seed: int, gateway: Gateway) -> Outcome:
            return gateway.search({"image": picture(seed)}, None)

        # all at once: each picture would be encoded when the first one has waited long enough
        with ThreadPoolExecutor(len(gateways)) as threads:
            found = dict(zip(gateways, threads.map(ask, range(200, 300), gateways.values()), strict=True))
        assert found == dict.fromkeys(gateways, Outcome("deadline_exceeded"))
