"""The page of metrics for people: its figures are those of the metrics."""

from __future__ import annotations

import re

from prometheus_client import CollectorRegistry, Counter, Histogram

from lookalike.serving.telemetry.summary import Figures, Timing, summary
from tests.serving.conftest import Serve
from tests.support.client import Client
from tests.support.shop import Shop, picture


def rows(html: str) -> dict[str, list[str]]:
    found = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', html)
    return {name: re.findall(r"<td>(.*?)</td>", cells) for name, cells in found}


def test_shares_and_times_are_worked_out() -> None:
    registry = CollectorRegistry()
    stages = Histogram("lookalike_stage_seconds", "s", ["stage"], buckets=(0.1, 0.5, 1.0), registry=registry)
    for _ in range(98):
        stages.labels("decode").observe(0.05)
    for _ in range(2):
        stages.labels("decode").observe(0.4)
    stages.labels("search").observe(17.1)
    page = rows(summary(registry.collect(), now=0))
    assert page["decode"][:5] == ["100", "57.00 ms", "100.00 ms", "100.00 ms", "500.00 ms"]
    assert page["decode"][5].endswith("25.0 %")
    assert page["search"][:5] == ["1", "17.10 s", "more", "more", "more"]
    assert page["search"][5].endswith("75.0 %")
    assert list(page)[:2] == ["search", "decode"]


def test_without_any_figures_it_is_a_page_too() -> None:
    page = rows(summary([], now=0))
    assert page["served"] == ["none yet"]
    assert page["recall, by the probe"] == ["not measured"]


def test_labels_are_text_and_no_markup() -> None:
    registry = CollectorRegistry()
    counter = Counter("lookalike_refused", "r", ["reason"], registry=registry)
    counter.labels("<script>alert(1)</script>").inc()
    html = summary(registry.collect(), now=0)
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_quantiles_without_observations() -> None:
    assert Timing().mean == 0
    assert Figures([]).timings("nothing") == {}


def test_the_page_of_a_server(served: tuple[Shop, Client]) -> None:
    shop, client = served
    for _ in range(2):
        assert client.post("/v1/search", files={"image": ("x.png", picture(31))}).status_code == 200
    reply = client.get("/metrics/summary")
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert "unsafe" not in reply.headers["content-security-policy"]
    page = rows(reply.text)
    for stage in ("decode", "queue", "encode", "search", "hydrate"):
        assert page[stage][5].endswith(" %")
    shares = [float(cells[5].rsplit(" ", 2)[1]) for cells in page.values() if len(cells) == 6]
    assert abs(sum(shares) - 100) < 1
    assert page["POST /v1/search 200"][0] == "2"
    assert shop.channel.current().snapshot in page["served"][0]
    assert page["products"] == ["24"]
    assert page["vectors: cached"] == ["1"]
    assert page["version"][0]


def test_it_is_for_those_who_may_see_metrics(shop: Shop, serve: Serve) -> None:
    shop.publish(8)
    from lookalike.serving.access.keys import add_key, create_key
    from lookalike.serving.context import AccessScope

    file = shop.folder / "keys.json"
    sent = {}
    for scope in (AccessScope.SEARCH, AccessScope.ADMIN):
        key, text = create_key(scope.value, [scope], lifetime=None)
        add_key(file, key)
        sent[scope] = {"authorization": f"Bearer {text}"}
    client = serve(access={"keys_file": file})
    assert client.get("/metrics/summary").status_code == 401
    assert client.get("/metrics/summary", headers=sent[AccessScope.SEARCH]).status_code == 403
    assert client.get("/metrics/summary", headers=sent[AccessScope.ADMIN]).status_code == 200
