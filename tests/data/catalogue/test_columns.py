"""Columns: said by people, or found by the names that shop programs give them."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from lookalike.data.catalogue.columns import Columns, parse_columns
from lookalike.data.catalogue.findings import Findings
from lookalike.data.errors import CatalogueError
from tests.support.catalogues import attributes_of, read_all


def write(folder: Path, text: str) -> str:
    (folder / "shop.csv").write_text(text)
    return str(folder / "shop.csv")


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        (None, Columns()),
        ("id=Artikelnr, image=Bild", Columns({"id": "Artikelnr", "image": "Bild"})),
        ("price=Preis:decimal_comma", Columns({"price": "Preis"}, {"price": "decimal_comma"})),
        ("Preis:number", Columns({}, {"Preis": "number"})),
        ('"image=Bild, gross",id=Nr', Columns({"image": "Bild, gross", "id": "Nr"})),
        ("id=shop:Nr", Columns({"id": "shop:Nr"})),
    ],
)
def test_what_people_say(text: str | None, columns: Columns) -> None:
    assert parse_columns(text) == columns


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id", "'id' is not understood: write id=Artikelnr"),
        ("id=", "is not understood"),
        ("price=Preis:zahl", "there is no type 'zahl': write one of text, number"),
        ("id=Nr:number", "'id' is always text"),
        ("id=a,id=b", "is not understood"),
    ],
)
def test_slips(text: str, message: str) -> None:
    with pytest.raises(CatalogueError, match=message):
        parse_columns(text)


def test_columns_are_mapped(tmp_path: Path) -> None:
    uri = write(tmp_path, "Artikelnr;Bild;Name;Preis\n7;a.png;Shoe;1,234\n")
    read = read_all(uri, columns="id=Artikelnr,image=Bild,title=Name,price=Preis:decimal_comma")
    assert read.products.select(["id", "title"]).to_pylist() == [{"id": "7", "title": "Shoe"}]
    assert attributes_of(read) == [{"price": 1.234}]


def test_one_column_may_be_the_picture_and_a_name_that_was_taken_gives_way(tmp_path: Path) -> None:
    uri = write(tmp_path, "id,sku,image,photo\n1,s,x.png,a.png\n")
    read = read_all(uri, columns="id=sku,image=photo")
    assert read.products["id"].to_pylist() == ["s"]
    assert "attributes" not in read.products.column_names


@pytest.mark.parametrize(
    ("header", "advice"),
    [
        (
            "Artikelnr;Bezeichnung;Bilddatei",
            r"separated by semicolons\). Say which is which: --columns id=Artikelnr,image=B",
        ),
        ("sku\tname\timage_url", r"\(separated by tabs\). Say which is which: --columns id=sku,image=image_url"),
        ("ID,Id,Image", r"--columns id=I"),
        ("a,b", r"--columns 'id=…,image=…'"),
        ("ID,Image URL", r"--columns 'image=Image URL'\."),
    ],
)
def test_the_nearest_columns_are_named(header: str, advice: str, tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=advice):
        read_all(write(tmp_path, f"{header}\n1{header[1:]}\n"))


def test_names_are_compared_however_their_accents_are_written(tmp_path: Path) -> None:
    uri = write(tmp_path, unicodedata.normalize("NFD", "id,Größe,Bild\n1,5,a.png\n"))
    assert attributes_of(read_all(uri, columns=unicodedata.normalize("NFC", "image=Bild,Größe:number"))) == [
        {"Größe": 5}
    ]


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=r"names 'Artikelnummer', and .* did you mean 'Artikelnr'"):
        read_all(write(tmp_path, "Artikelnr,Bild\n1,a\n"), columns="id=Artikelnummer,image=Bild")


MERCHANT = (
    "id\ttitle\timage link\tadditional_image_link\tprice\tgtin\n"
    '1\t"A ""fine"" shoe"\thttps://cdn.x.com/1.jpg?a=1&amp;b=2\thttps://cdn.x.com/1b.jpg\t19.90 EUR\t4006381333931\n'
    "2\tHat\thttps://cdn.x.com/2.jpg\t\t1,249.00 EUR\t0006381333932\n"
)


def test_google_merchant(tmp_path: Path) -> None:
    findings = Findings()
    read = read_all(write(tmp_path, MERCHANT), findings=findings)
    assert read.products["image"].to_pylist() == ["https://cdn.x.com/1.jpg?a=1&b=2", "https://cdn.x.com/2.jpg"]
    assert read.products["title"].to_pylist() == ['A "fine" shoe', "Hat"]
    assert [(row["price"], row["gtin"]) for row in attributes_of(read)] == [
        (19.9, "4006381333931"), (1249.0, "0006381333932"),
    ]  # fmt: skip
    assert "read as an export of Google Merchant" in findings.notes


SHOPIFY = (
    "Handle,Title,Vendor,Tags,Option1 Name,Option1 Value,Variant SKU,Variant Price,Image Src,Image Position\n"
    'boot,Boot,Acme,"summer, sale",Size,40,B-40,19.90,https://cdn.x.com/1.jpg,1\n'
    "boot,,,,,41,B-41,29.90,https://cdn.x.com/2.jpg,2\n"
    "boot,,,,,,,,https://cdn.x.com/3.jpg,3\n"
    "hat,Hat,Acme,,Size,'0-3,H,5.00,https://cdn.x.com/4.jpg,1\n"
)


def test_shopify_rows_of_one_handle_are_one_product(tmp_path: Path) -> None:
    findings = Findings()
    read = read_all(write(tmp_path, SHOPIFY), findings=findings)
    assert read.products.select(["id", "title", "image"]).to_pylist() == [
        {"id": "boot", "title": "Boot", "image": "https://cdn.x.com/1.jpg"},
        {"id": "hat", "title": "Hat", "image": "https://cdn.x.com/4.jpg"},
    ]
    boot, hat = attributes_of(read)
    assert (boot["Tags"], boot["Variant Price"], boot["Variant SKU"]) == (
        ["summer", "sale"],
        [19.9, 29.9],
        ["B-40", "B-41"],
    )
    assert (hat["Tags"], hat["Option1 Value"], hat["Vendor"]) == ([], ["0-3"], "Acme")
    assert "rows of variants and further pictures, joined with the row of their product: 2" in findings.notes
    assert findings.attributes["Variant Price"].type == "list of number"


WOO = (
    "ID,Type,SKU,Name,Parent,Regular price,Categories,Images,Attribute 1 name,Attribute 1 value(s)\n"
    '10,variable,TEE,Tee,,,"Clothing > Tees, Sale","https://cdn.x.com/1.jpg, https://cdn.x.com/2.jpg",Size,"S, M"\n'
    "11,variation,TEE-S,Tee - S,TEE,9.90,,https://cdn.x.com/3.jpg,Size,S\n"
    "12,variation,TEE-M,Tee - M,id:10,12.90,,,Size,M\n"
    "13,simple,HAT,Hat,,5,Hats,https://cdn.x.com/4.jpg,,\n"
)


def test_woocommerce_variations_are_part_of_their_product(tmp_path: Path) -> None:
    read = read_all(write(tmp_path, WOO))
    assert read.products.select(["id", "title", "image"]).to_pylist() == [
        {"id": "10", "title": "Tee", "image": "https://cdn.x.com/1.jpg"},
        {"id": "13", "title": "Hat", "image": "https://cdn.x.com/4.jpg"},
    ]
    tee, hat = attributes_of(read)
    assert (tee["Categories"], tee["Regular price"]) == (["Clothing > Tees", "Sale"], [9.9, 12.9])
    assert (tee["SKU"], tee["Attribute 1 value(s)"], hat["Regular price"]) == (
        ["TEE", "TEE-S", "TEE-M"],
        ["S", "M"],
        [5.0],
    )


def test_rows_of_one_product_are_joined_across_batches(tmp_path: Path) -> None:
    lines = [SHOPIFY.splitlines()[0]]
    text = "x" * 900
    lines += [f"p{row // 7},{text},V,,Size,{row},{row},1.5,https://x.com/{row}.jpg,1" for row in range(70_000)]
    read = read_all(write(tmp_path, "\n".join(lines)))
    assert read.products.num_rows == 10_000
    assert {len(row["Option1 Value"]) for row in attributes_of(read)} == {7}
