"""Columns: said by people, or found by the names that shop programs give them."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from lookalike.data.catalogue.columns import MOST_PICTURES, Columns, parse_columns
from lookalike.data.catalogue.findings import Findings
from lookalike.data.catalogue.variants import KEPT_ROWS
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
    assert read.products["further"].to_pylist() == [["https://cdn.x.com/2.jpg", "https://cdn.x.com/3.jpg"], []]
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
    assert read.products["further"].to_pylist() == [["https://cdn.x.com/2.jpg", "https://cdn.x.com/3.jpg"], []]
    tee, hat = attributes_of(read)
    assert (tee["Categories"], tee["Regular price"]) == (["Clothing > Tees", "Sale"], [9.9, 12.9])
    assert (tee["SKU"], tee["Attribute 1 value(s)"], hat["Regular price"]) == (
        ["TEE", "TEE-S", "TEE-M"],
        ["S", "M"],
        [5.0],
    )


# as WooCommerce's translations have them
TRANSLATED = {
    "German": "ID,Typ,Artikelnummer,Name,Übergeordnetes Produkt,Regulärer Preis,Kategorien,Bilder,Attribut 1 Name,"
    "Attribut 1 Wert(e)",
    "French": "ID,Type,UGS,Nom,Parent,Tarif régulier,Catégories,Images,Nom de l\u2019attribut 1,"
    "Valeur(s) de l\u2019attribut 1 ",
    "Spanish": "ID,Tipo,SKU,Nombre,Superior,Precio normal,Categorías,Imágenes,Nombre del atributo 1,"
    "Valor(es) del atributo 1",
    "Dutch": "ID,Type,Artikelnummer,Naam,Hoofd,Reguliere prijs,Categorieën,Afbeeldingen,Naam eigenschap 1,"
    "Waarde eigenschap 1",
}


@pytest.mark.parametrize("language", TRANSLATED)
def test_woocommerce_in_the_language_of_the_shop(language: str, tmp_path: Path) -> None:
    _, rows = WOO.split("\n", 1)
    findings = Findings()
    read = read_all(write(tmp_path, f"{TRANSLATED[language]}\n{rows}"), findings=findings)
    (tmp_path / "english").mkdir()
    expected = read_all(write(tmp_path / "english", WOO))
    assert f"read as an export of WooCommerce in {language}" in findings.notes
    own = ["id", "title", "image"]
    assert read.products.select(own).to_pylist() == expected.products.select(own).to_pylist()
    assert [list(row.values()) for row in attributes_of(read)] == [
        list(row.values()) for row in attributes_of(expected)
    ]


def test_rows_of_one_handle_that_are_far_apart(tmp_path: Path) -> None:
    head, first, second, third, hat, _ = SHOPIFY.split("\n")
    read = read_all(write(tmp_path, "\n".join([head, first, hat, third, second])))
    assert read.rejects == []
    boot, hat_found = attributes_of(read)
    assert (boot["Variant SKU"], boot["Variant Price"], hat_found["Variant SKU"]) == (
        ["B-40", "B-41"],
        [19.9, 29.9],
        ["H"],
    )
    assert read.products["image"].to_pylist() == ["https://cdn.x.com/1.jpg", "https://cdn.x.com/4.jpg"]


def test_variations_that_came_later_than_other_products(tmp_path: Path) -> None:
    """WooCommerce exports by id: a size of today stands behind products of last year, or before its product."""
    head, tee, small, _, hat, _ = WOO.split("\n")
    by_id = "15,variation,,Cap - red,id:14,7.50,,,,\n14,variable,,Cap,,,,https://cdn.x.com/5.jpg,,"
    alone = "16,variation,,Of a draft,id:99,7.50,,https://cdn.x.com/6.jpg,,"
    read = read_all(write(tmp_path, "\n".join([head, small, hat, tee, by_id, alone])))
    assert read.products.select(["id", "title"]).to_pylist() == [
        {"id": "13", "title": "Hat"},
        {"id": "10", "title": "Tee"},
        {"id": "14", "title": "Cap"},
        {"id": "16", "title": "Of a draft"},
    ]
    assert [row["Regular price"] for row in attributes_of(read)] == [[5.0], [9.9], [7.5], [7.5]]
    assert attributes_of(read)[1]["SKU"] == ["TEE", "TEE-S"]


def test_rows_of_one_product_are_joined_through_the_disk(tmp_path: Path) -> None:
    rows = 3 * KEPT_ROWS
    lines = [SHOPIFY.splitlines()[0]]
    lines += [f"p{row % 5000},T,V,,Size,{row},{row},1.5,https://x.com/{row}.jpg,1" for row in range(rows)]
    read = read_all(write(tmp_path, "\n".join(lines)))
    assert (read.products.num_rows, read.rejects) == (5000, [])
    assert sum(len(row["Option1 Value"]) for row in attributes_of(read)) == rows
    first = dict(zip(read.products["id"].to_pylist(), read.products["image"].to_pylist(), strict=True))
    assert first == {f"p{row}": f"https://x.com/{row}.jpg" for row in range(5000)}


def test_rows_of_one_product_are_joined_across_batches(tmp_path: Path) -> None:
    lines = [SHOPIFY.splitlines()[0]]
    text = "x" * 900
    lines += [f"p{row // 7},{text},V,,Size,{row},{row},1.5,https://x.com/{row}.jpg,1" for row in range(70_000)]
    read = read_all(write(tmp_path, "\n".join(lines)))
    assert read.products.num_rows == 10_000
    assert {len(row["Option1 Value"]) for row in attributes_of(read)} == {7}


def test_several_pictures_in_columns_of_their_own(tmp_path: Path) -> None:
    findings = Findings()
    rows = "1,a.jpg,b.jpg|c.jpg,d.jpg,5\n2,,e.jpg,,6\n3,f.jpg,,f.jpg,7\n4,g.jpg,data:x,,8\n"
    read = read_all(
        write(tmp_path, f"id,image,image_2,Bild 3,price\n{rows}"), columns="image_3=Bild 3", findings=findings
    )
    assert read.products["id"].to_pylist() == ["1", "2", "3", "4"]
    shown = [[image, *further] for image, further in zip(*read.products.select(["image", "further"]), strict=True)]
    names = [[str(one).removeprefix(f"{tmp_path}/") for one in some] for some in shown]
    assert names == [["a.jpg", "b.jpg", "c.jpg", "d.jpg"], ["e.jpg"], ["f.jpg"], ["g.jpg"]]
    assert [(one.id, one.reason) for one in read.lost] == [("4", "unsupported_reference")]
    assert attributes_of(read) == [{"price": price} for price in (5, 6, 7, 8)]
    assert any("the same picture several times" in note for note in findings.notes)


def test_more_pictures_than_a_product_may_have(tmp_path: Path) -> None:
    findings = Findings()
    images = "|".join(f"{number}.jpg" for number in range(200))
    read = read_all(write(tmp_path, f"id,image\n1,{images}\n2,x.jpg\n"), findings=findings)
    assert [len(further) for further in read.products["further"].to_pylist()] == [MOST_PICTURES - 1, 0]
    assert any(note.startswith(f"products name more than {MOST_PICTURES} pictures") for note in findings.notes)
