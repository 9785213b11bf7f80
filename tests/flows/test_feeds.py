"""Feeds as shops export them, indexed by one command each: every product, every picture, and filters that are right."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from lookalike.data.reports import RunReport
from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.products import Products, read_shard_products
from lookalike.data.snapshots.store import read_manifest
from lookalike.data.stores import open_store
from lookalike.tasks.search.filters import match_products, parse
from tests.flows.conftest import Reindex
from tests.support.pictures import drawing
from tests.support.sites import Site, answer, running

pytestmark = [pytest.mark.services, pytest.mark.slow]


def picture(seed: int) -> bytes:
    data = io.BytesIO()
    drawing(seed).save(data, "JPEG")
    return data.getvalue()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Pictures /p/0.jpg to /p/29.jpg of a shop, from which batch work may fetch."""
    with running(Site()) as site:
        for name, value in (("HOSTS", "127.0.0.1"), ("NETWORKS", "127.0.0.0/8"), ("PORTS", str(site.port))):
            monkeypatch.setenv(f"LOOKALIKE_FETCH__ALLOWED_{name}", value)
        for seed in range(30):
            site.pages[f"/p/{seed}.jpg"] = [answer(picture(seed))]
        yield site


def published(folder: Path) -> Products:
    store = open_store(str(folder / "store"))
    manifest = read_manifest(store, Channel(store).current().snapshot)
    return Products.of(
        pa.concat_tables(table for shard in manifest.shards for table, _ in read_shard_products(store, shard))
    )


def found(products: Products, *filters: str) -> set[str]:
    rows = match_products(products, [parse(text) for text in filters]).nonzero()[0]
    return {one.id for one in products.take(rows)}


def check(report: RunReport, products: int) -> None:
    assert (report.state, report.products, report.rejected) == ("published", products, 0), report


def test_google_merchant(run: Reindex, site: Site, tmp_path: Path) -> None:
    base = f"http://127.0.0.1:{site.port}"
    lines = ["id\ttitle\tdescription\tlink\timage_link\tadditional_image_link\tprice\tgtin\tavailability"]
    lines += [
        f'SKU-{row}\t"Pan ""{row}"""\tIron, heavy\t{base}/{row}\t{base}/p/{row}.jpg?a=1&amp;b=2\t{base}/p/9{row}.jpg\t'
        f"{7.15 * (row + 1):.2f} EUR\t400638133393{row}\tin_stock"
        for row in range(12)
    ]
    for row in range(12):
        site.pages[f"/p/{row}.jpg?a=1&b=2"] = site.pages[f"/p/{row}.jpg"]
        site.pages[f"/p/9{row}.jpg"] = site.pages[f"/p/{row + 12}.jpg"]
    site.pages["/export?format=tsv&token=abc"] = [answer("\r\n".join(lines).encode())]
    report = run(f"{base}/export?format=tsv&token=abc")
    check(report, 12)
    assert report.catalogue == f"{base}/export?format=tsv&token=…"
    products = published(tmp_path)
    assert found(products, "price<=50") == {f"SKU-{row}" for row in range(6)}
    assert found(products, "gtin=4006381333935") == {"SKU-5"}
    [third] = products.take([products.row("SKU-3")])
    assert (third.title, [view.image for view in third.views]) == ('Pan "3"', [f"{base}/p/93.jpg"])
    price = report.attributes["price"]
    assert (price.type, price.how, price.example) == ("number", "decimal point, currency EUR", "7.15 EUR")
    assert "read as an export of Google Merchant" in report.notes


def test_shopify(run: Reindex, site: Site, tmp_path: Path) -> None:
    base = f"//127.0.0.1:{site.port}/p"
    variant = "Option1 Name,Option1 Value,Variant SKU,Variant Price"
    lines = [f"Handle,Title,Body (HTML),Vendor,Tags,Published,{variant},Image Src,Image Position,Status"]
    body = '"<p>A ""good"" shoe,\nof leather</p>",Acme,"summer, sale"'
    for row in range(12):
        lines += [
            f"shoe-{row},Shoe {row},{body},true,Size,4{row % 3},S{row}-1,{row + 1}9.90,http:{base}/{row}.jpg,1,active",
            f"shoe-{row},,,,,,,'0-{row},S{row}-2,{row + 1}5.50,http:{base}/{row + 12}.jpg,2,",
            f"shoe-{row},,,,,,,,,,http:{base}/29.jpg,3,",
        ]
    site.pages["/products_export.csv"] = [answer("\n".join(lines).encode())]
    report = run(f"http:{base.removesuffix('/p')}/products_export.csv")
    check(report, 12)
    products = published(tmp_path)
    assert found(products, "Variant Price<=30") == {"shoe-0", "shoe-1"}
    assert found(products, "Option1 Value=0-7") == {"shoe-7"}
    assert found(products, "Option1 Value=41", "Tags=sale") == {"shoe-1", "shoe-4", "shoe-7", "shoe-10"}
    assert report.attributes["Variant Price"].type == "list of number"
    assert "rows of variants and further pictures, joined with the row of their product: 24" in report.notes


def test_a_spreadsheet_of_a_windows_shop(run: Reindex, tmp_path: Path) -> None:
    lines = ["Artikelnr;Bezeichnung;Bild;Preis;Seit;Kategorie"]
    folder = tmp_path / "shop"
    for row in range(12):
        accents = unicodedata.normalize("NFD", "Schürzen")
        (folder / "Bilder" / accents).mkdir(parents=True, exist_ok=True)
        (folder / "Bilder" / accents / f"IMG_{row:03}.JPG").write_bytes(picture(row))
        image, day = f"Bilder\\Schürzen\\img_{row:03}.jpg", f"{row + 1}.{row % 3 + 1}.2026"
        lines.append(f"00{row}; Schürze „Größe {row}“;{image};1.{100 + row},90;{day};Küche")
    lines += [";;;;;"] * 200
    (folder / "artikel.csv").write_bytes("\r\n".join(lines).encode("cp1252"))
    columns = "id=Artikelnr,title=Bezeichnung,image=Bild"
    report = run(folder / "artikel.csv", columns=columns)
    check(report, 12)
    products = published(tmp_path)
    assert found(products, "Preis<1103") == {"000", "001", "002"}
    assert found(products, "Seit>=2026-03-01", "Kategorie=Küche") == {"002", "005", "008", "0011"}
    assert (report.attributes["Preis"].how, report.attributes["Seit"].type) == ("decimal comma", "date")
    assert report.notes[:2] == [
        "the file is read as Windows-1252 (Western European), as its bytes say, with words such as Schürze",
        "the file has semicolons between its values",
    ]
    assert "rows of empty cells, skipped: 200" in report.notes
    assert run(folder / "artikel.csv", columns=columns).state == "unchanged"


def test_the_most_frequent_reason_is_named(run: Reindex, tmp_path: Path) -> None:
    from lookalike.data.errors import CatalogueError

    (tmp_path / "shop.csv").write_text("id,image\n,x.png\n" + "".join(f"{row},{row}.png\n" for row in range(31)))
    with pytest.raises(CatalogueError, match=r"31 of 32 rejects are missing; the first one: there is no file at "):
        run(tmp_path / "shop.csv")
    (tmp_path / "0.png").write_bytes(picture(0))
    refused = run(tmp_path / "shop.csv")
    assert refused.state == "refused"
    assert "97% of the catalogue cannot be used, the limit is 20% (30 of 31 rejects are missing;" in refused.refused[0]
