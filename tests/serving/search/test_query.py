"""Several examples, crops, groups, scores, facets and fields: each against what can be worked out by hand."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lookalike.data.snapshots.products import Products
from lookalike.serving.encode.embedder import prepare_pixels
from lookalike.serving.errors import ProblemError
from lookalike.serving.query.options import QueryOptions
from lookalike.serving.query.query import Crop, combine
from lookalike.serving.search.rankings import Directions, Nearest
from lookalike.serving.search.selection import Among, select
from lookalike.tasks.images.decode import DEFAULT_LIMITS
from lookalike.tasks.search.searcher import Matches, Searcher
from tests.serving.rest.routes.test_search import ids, send
from tests.support.client import Client
from tests.support.shop import CATEGORIES, Shop, picture, product_ids

IDS = product_ids(24)


def text(image: bytes) -> str:
    return base64.b64encode(image).decode()


def searcher(client: Client) -> Searcher:
    found: Searcher = client.loaded.searcher
    return found


def direction(client: Client, seed: int) -> NDArray[np.float32]:
    here = searcher(client)
    return here.direction(here.embed(picture(seed)))


def scores(client: Client, wanted: NDArray[np.float32]) -> dict[str, float]:
    """Every product's cosine similarity to a direction, worked out one by one."""
    here = searcher(client)
    return {product: float(here.direction_of(here.products.row(product)) @ wanted) for product in IDS}


def check_hits(hits: list[dict[str, Any]], expected: dict[str, float]) -> None:
    assert [hit["id"] for hit in hits] == sorted(expected, key=lambda product: -expected[product])
    assert [hit["score"] for hit in hits] == pytest.approx(sorted(expected.values(), reverse=True), abs=1e-5)


def test_several_pictures_of_one_thing(client: Client) -> None:
    wanted = direction(client, 50) + direction(client, 51) + direction(client, 52)
    expected = scores(client, wanted / np.linalg.norm(wanted))
    pictures = [picture(seed) for seed in (50, 51, 52)]
    as_json = client.search(positive=[{"image": text(image)} for image in pictures], k=24)
    check_hits(as_json.json()["hits"], expected)
    files = [("image", (f"{place}.png", image)) for place, image in enumerate(pictures)]
    as_form = client.post("/v1/search", files=files, data={"k": "24"})
    assert as_form.json()["hits"] == as_json.json()["hits"]


def test_positive_and_negative_examples_of_every_kind(client: Client) -> None:
    here = searcher(client)
    vector = here.embed(picture(60))
    positive = [direction(client, 50), here.direction_of(here.products.row(IDS[8])), here.direction(vector)]
    negative = [direction(client, 51), here.direction_of(here.products.row(IDS[9]))]
    wanted = np.mean(positive, axis=0) - 0.5 * np.mean(negative, axis=0)
    expected = scores(client, wanted / np.linalg.norm(wanted))
    found = client.search(
        positive=[{"image": text(picture(50))}, {"product_id": IDS[8]}, {"vector": vector.tolist()}],
        negative=[{"image": text(picture(51))}, {"product_id": IDS[9]}],
        negative_weight=0.5,
        k=24,
    )
    check_hits(found.json()["hits"], {one: score for one, score in expected.items() if one not in IDS[8:10]})


def test_a_negative_example_pushes_away(client: Client) -> None:
    plain = client.search(product_id=IDS[0], k=23).json()["hits"]
    disliked = plain[0]["id"]
    found = client.search(product_id=IDS[0], negative=[{"product_id": disliked}], negative_weight=1, k=24)
    assert disliked not in ids(found)
    assert len(ids(found)) == 22
    by_picture = client.search(
        product_id=IDS[0], negative=[{"image": text(picture(IDS.index(disliked)))}], negative_weight=1, k=24
    )
    assert ids(by_picture).index(disliked) > 0


@pytest.mark.parametrize("combine_by", ["mean", "best"])
def test_explained_hits_name_the_nearest_example(client: Client, combine_by: str) -> None:
    here = searcher(client)
    vector = here.embed(picture(60))
    examples = {0: direction(client, 50), 2: here.direction_of(here.products.row(IDS[8])), 3: here.direction(vector)}
    away = direction(client, 51)
    if combine_by == "best":
        examples = {place: combine([one], [away], 0.2) for place, one in examples.items()}
    of_each = {place: scores(client, one) for place, one in examples.items()}
    positive = [{"image": text(picture(50))}, {"product_id": IDS[8]}, {"vector": vector.tolist()}]
    query = {"negative": [{"image": text(picture(51))}], "combine": combine_by, "k": 24, "explain": True}
    with_text = client.search(positive=[positive[0], {"text": "product"}, *positive[1:]], **query).json()["hits"]
    without = client.search(positive=positive, **query).json()
    assert "understood" not in without
    assert {hit["why"]["example"] for hit in with_text} == {0, 2, 3}
    for hit in with_text:
        assert hit["why"]["example"] == max(of_each, key=lambda place: of_each[place][hit["id"]])
    place_of = {0: 0, 2: 1, 3: 2}
    found = {hit["id"]: place_of[hit["why"]["example"]] for hit in with_text}
    for hit in without["hits"]:
        assert hit["why"]["example"] == found[hit["id"]]
        assert hit["why"] == {
            # found and compared by different sums: the last digit that is shown may differ
            "scores": {"picture": pytest.approx(max(hit["score"], 0), abs=2e-6)},
            "words": [],
            "example": found[hit["id"]],
        }
    one = client.search(positive=positive[:1], explain=True, k=1).json()["hits"][0]
    assert set(one["why"]) == {"scores", "words"}
    assert "why" not in client.search(positive=positive, k=1).json()["hits"][0]


def test_a_picture_without_any_feature_counts_for_nothing(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = searcher(client).encoder
    finish = encoder.finish
    monkeypatch.setattr(encoder, "finish", lambda raw: finish(raw) * 0)
    assert ids(send(client, picture(900))) == []
    assert ids(client.search(product_id="a", negative=[{"image": text(picture(901))}], k=5)) == ids(
        client.search(product_id="a", k=5)
    )


def test_combining() -> None:
    one, other = np.array([1, 0], np.float32), np.array([0, 1], np.float32)
    assert combine([one], [], 0.5) is one
    both = combine([one, other], [], 0.5)
    assert both is not None
    assert both.tolist() == pytest.approx([0.5**0.5] * 2)
    with pytest.raises(ProblemError, match="cancel"):
        combine([one], [one], 1.0)


# Crops


def halves(orientation: int | None = None, kind: str = "PNG") -> bytes:
    """A picture on the left, another on the right; with an orientation, stored lying on its side."""
    whole = Image.new("RGB", (400, 200))
    for place, seed in enumerate((3, 8)):
        whole.paste(Image.open(io.BytesIO(picture(seed))).resize((200, 200)), (200 * place, 0))
    exif = Image.Exif()
    if orientation == 6:
        whole = whole.transpose(Image.Transpose.ROTATE_90)
        exif[0x0112] = 6
    buffer = io.BytesIO()
    whole.save(buffer, kind, exif=exif, **({"quality": 98} if kind == "JPEG" else {}))
    return buffer.getvalue()


@pytest.mark.parametrize(("image", "name"), [(halves(), "upright"), (halves(6, "JPEG"), "turned by EXIF")])
@pytest.mark.parametrize(("box", "seed"), [([0, 0, 0.5, 1], 3), ([0.5, 0, 1, 1], 8)])
def test_only_the_crop_counts(client: Client, image: bytes, name: str, box: list[float], seed: int) -> None:
    found = client.search(image=text(image), crop=box, k=1).json()["hits"][0]
    assert (found["id"], found["score"] > 0.99) == (IDS[seed], True), name
    as_form = send(client, image, crop=",".join(map(str, box)), k="1")
    assert as_form.json()["hits"][0]["score"] == found["score"]
    example = client.search(positive=[{"image": text(image), "crop": box}], k=1)
    assert example.json()["hits"][0]["score"] == found["score"]


def test_each_picture_of_a_form_has_its_crop(client: Client) -> None:
    files = [("image", ("a.png", halves())), ("image", ("b.png", picture(3)))]
    found = client.post("/v1/search", files=files, data={"crop": ["0,0,0.5,1", ""], "k": "1"})
    assert (ids(found), found.json()["hits"][0]["score"] > 0.99) == ([IDS[3]], True)


def test_a_crop_of_everything_is_no_crop(client: Client) -> None:
    encoder = searcher(client).encoder
    assert np.array_equal(
        prepare_pixels(encoder, picture(5), Crop(0, 0, 1, 1), DEFAULT_LIMITS), encoder.prepare(picture(5))
    )


def test_a_small_crop_of_a_large_photo_keeps_its_pixels(client: Client) -> None:
    """A scaled decode for the whole would leave 5 pixels of it."""
    whole = Image.new("RGB", (4000, 4000), (120, 10, 200))
    part = Image.open(io.BytesIO(picture(5))).resize((200, 200))
    whole.paste(part, (2000, 2000))
    buffer, alone = io.BytesIO(), io.BytesIO()
    whole.save(buffer, "JPEG", quality=95)
    part.save(alone, "PNG")
    encoder = searcher(client).encoder
    found = prepare_pixels(encoder, buffer.getvalue(), Crop(0.5, 0.5, 0.55, 0.55), DEFAULT_LIMITS).astype(int)
    assert np.abs(found - encoder.prepare(alone.getvalue())).mean() < 6


# What is chosen, and what is sent


def test_min_score(client: Client) -> None:
    whole = client.search(product_id="a", k=23).json()["hits"]
    limit = whole[5]["score"] - 1e-4
    assert ids(client.search(product_id="a", k=23, min_score=limit)) == [hit["id"] for hit in whole[:6]]
    assert ids(send(client, picture(1), k="23", min_score="1")) == ["a"]
    assert ids(client.get("/v1/products/a/similar", params={"k": 23, "min_score": limit})) == [
        hit["id"] for hit in whole[:6]
    ]


@pytest.mark.parametrize("product", ["a", "a/image", "b/similar"])
@pytest.mark.parametrize("group_by", [None, "stock"])
def test_a_hit_is_there_where_min_score_is_its_own_score(client: Client, product: str, group_by: str | None) -> None:
    whole = client.search(product_id=product, k=23).json()["hits"]
    for hit in whole:
        found = client.search(product_id=product, k=23, min_score=hit["score"], group_by=group_by)
        assert ids(found) == [one["id"] for one in whole if one["score"] >= hit["score"]]


def test_groups_show_their_best(client: Client) -> None:
    whole = client.search(image=text(picture(50)), k=24).json()["hits"]
    best: dict[str, Any] = {}
    for hit in whole:
        best.setdefault(hit["attributes"]["category"], hit)
    expected = list(best.values())
    assert client.search(image=text(picture(50)), k=10, group_by="category").json()["hits"] == expected
    assert client.search(image=text(picture(50)), k=1, offset=1, group_by="category").json()["hits"] == expected[1:2]
    assert {hit["attributes"]["category"] for hit in expected} == set(CATEGORIES)
    limit = expected[1]["score"]
    few = client.search(image=text(picture(50)), k=10, group_by="category", min_score=limit - 1e-6)
    assert few.json()["hits"] == expected[:2]


def test_products_without_a_value_stand_for_themselves(client: Client) -> None:
    found = client.search(product_id="a", k=24, group_by="price")
    assert len(ids(found)) == 23
    filtered = client.search(product_id="a", k=24, group_by="new", filter="category=shoes")
    assert len(ids(filtered)) == 2


class Rows:
    """As many rows as wanted, the nearer the smaller; of the first 500 all are in one group."""

    is_exact = False

    def __init__(self, count: int) -> None:
        self.count = count
        self.reached: list[int] = []
        self.products = self

    def nearest(self, direction: Any, k: int, allowed: Any) -> Matches:
        self.reached.append(k)
        rows = np.arange(min(k, self.count))
        return Matches((1 - rows / 100_000).astype(np.float32), rows)

    def values(self, name: str, rows: NDArray[np.int64]) -> list[Any]:
        return [None if row % 1000 == 999 else max(0, int(row) - 499) // 10 for row in rows]


def chosen(rows: Any, options: QueryOptions, *without: int) -> list[int]:
    found: list[int] = select(
        rows, Nearest(Directions(rows, [np.zeros(2, np.float32)])), options, Among(None, set(without))
    ).rows.tolist()
    return found


def test_more_is_looked_for_until_there_are_enough_groups() -> None:
    rows = Rows(100_000)
    assert chosen(rows, QueryOptions(k=4, group_by="x")) == [0, 509, 519, 529]
    assert rows.reached == [32, 128, 1024]
    assert chosen(rows, QueryOptions(k=2, offset=2, group_by="x")) == [519, 529]
    assert chosen(Rows(505), QueryOptions(k=4, group_by="x")) == [0]


def test_looking_has_an_end() -> None:
    rows = Rows(100_000)
    rows.values = lambda name, rows: ["all"] * len(rows)  # type: ignore[method-assign]
    assert chosen(rows, QueryOptions(k=2, group_by="x")) == [0]
    assert rows.reached[-1] == 20_000
    rows.reached.clear()
    assert chosen(rows, QueryOptions(k=2, group_by="x", min_score=0.9999)) == [0]
    assert rows.reached[-1] < 100


def test_what_is_left_out_costs_no_hits() -> None:
    rows = Rows(100)
    assert chosen(rows, QueryOptions(k=3), 0, 1, 2, 90) == [3, 4, 5]
    assert rows.reached == [32]


def test_facets_count_what_the_filters_leave(client: Client) -> None:
    found = client.search(product_id="a", k=1, filter="stock<10", facets=["category", "new", "tags", "stock"]).json()
    assert found["facets"]["category"] == {"values": {"shoes": 4, "bags": 3, "hats": 3}, "others": 0, "missing": 0}
    assert found["facets"]["new"] == {"values": {"false": 5, "true": 5}, "others": 0, "missing": 0}
    assert found["facets"]["tags"] == {"values": {"blue": 7, "red": 3, "sale": 3}, "others": 0, "missing": 0}
    assert found["facets"]["stock"]["values"] == {str(number): 1 for number in range(10)}
    assert (found["facets"]["stock"]["min"], found["facets"]["stock"]["max"]) == (0, 9)
    assert "facets" not in client.search(product_id="a").json()
    by_form = send(client, picture(1), facets="category,new", filter="stock<10").json()
    assert by_form["facets"] == {name: found["facets"][name] for name in ("category", "new")}


def test_facets_of_a_listing_and_of_a_product(client: Client) -> None:
    listed = client.get("/v1/products", params={"facets": ["category", "price"], "limit": 1}).json()
    assert sum(listed["facets"]["category"]["values"].values()) == 24
    price = listed["facets"]["price"]
    assert (sum(price["values"].values()), price["missing"]) == (23, 1)
    assert (price["min"], price["max"]) == (10.0, 33.0)
    similar = client.get("/v1/products/a/similar", params={"facets": "category", "filter": "category=shoes"}).json()
    assert similar["facets"] == {"category": {"values": {"shoes": 8}, "others": 0, "missing": 0}}
    assert "facets" not in client.get("/v1/products").json()


def test_facets_are_bounded() -> None:
    import pyarrow as pa

    from lookalike.serving.search.facets import count_values

    rows = 200
    attributes = pa.StructArray.from_arrays([pa.array([str(row % 60) for row in range(rows)])], names=["size"])
    names = pa.array([str(row) for row in range(rows)])
    products = Products.of(pa.table({"id": names, "attributes": attributes}), alive=np.arange(rows) < 130)
    facet = count_values(products, "size", None)
    assert (len(facet.values), facet.others) == (50, 10)
    assert list(facet.values.values()) == [3] * 10 + [2] * 40


def test_fields_choose_what_is_sent(client: Client) -> None:
    whole = client.search(product_id="a", k=2).json()["hits"]
    for fields, expected in (
        (["title"], {"id", "title"}),
        (["id"], {"id"}),
        ("score", {"id", "score"}),
        (["attributes"], {"id", "attributes"}),
        (["attributes.price", "image_url"], {"id", "attributes", "image_url"}),
    ):
        hits = client.search(product_id="a", k=2, fields=fields).json()["hits"]
        assert [set(hit) for hit in hits] == [expected] * 2
        for hit, one in zip(hits, whole, strict=True):
            shown = {"price": one["attributes"]["price"]} if "attributes.price" in fields else one["attributes"]
            assert hit == {name: shown if name == "attributes" else one[name] for name in hit}
    by_url = client.get("/v1/products/a/similar", params={"fields": "title,score", "k": 2}).json()["hits"]
    assert by_url == [{name: hit[name] for name in ("id", "title", "score")} for hit in whole]


# A snapshot by its name


def test_pages_of_a_snapshot_that_was_replaced(shop: Shop, serve: Any) -> None:
    first = shop.publish(12)
    client: Client = serve(retain_seconds=2.0)
    client.wait(lambda state: state["ready"])
    whole = client.search(product_id="a", k=11).json()["hits"]
    second = shop.publish(20, first_seed=300)
    client.wait(lambda state: state["snapshot"] == second.id)
    pages = [client.search(product_id="a", k=6, offset=skip, snapshot=first.id).json() for skip in (0, 6)]
    assert [page["snapshot"] for page in pages] == [first.id] * 2
    assert pages[0]["hits"] + pages[1]["hits"] == whole
    listed = client.get("/v1/products", params={"snapshot": first.id}).json()
    assert (listed["snapshot"], listed["total"]) == (first.id, 12)
    assert client.search(product_id="a").json()["snapshot"] == second.id
    batch = client.post("/v1/search/batch", json={"queries": [{"product_id": "a"}], "snapshot": first.id}).json()
    assert batch["snapshot"] == first.id

    from tests.support.client import wait_for

    gone = wait_for(lambda: client.search(product_id="a", snapshot=first.id), lambda reply: reply.status_code != 200)
    assert (gone.status_code, gone.json()["code"]) == (409, "snapshot_not_held")
    assert len(client.get("/v1/snapshots").json()["snapshots"]) == 1


def test_one_snapshot_is_held_for_those_who_page(shop: Shop, serve: Any) -> None:
    client: Client = serve(retain_seconds=600.0)
    for number in range(3):
        last = shop.publish(8 + number)
        client.wait(lambda state: state["snapshot"] == last.id)  # noqa: B023 - it is called before the next turn
    assert len(client.get("/v1/snapshots").json()["snapshots"]) == 2
