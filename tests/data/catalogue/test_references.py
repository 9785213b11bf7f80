"""References to pictures: as feeds, spreadsheets, pages and other machines write them."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from lookalike.data.catalogue.references import absolute_reference, find_spelling, forget_folders, list_references


@pytest.mark.parametrize(
    ("written", "first", "count"),
    [
        ("a.jpg", "a.jpg", 1),
        ("a.jpg, b.jpg", "a.jpg", 2),
        ("a.jpg|b.JPEG|c.png", "a.jpg", 3),
        ("a.jpg;b.jpg", "a.jpg", 2),
        ("a.jpg\nb.jpg", "a.jpg", 2),
        ("https://x.com/a.jpg, https://x.com/b", "https://x.com/a.jpg", 2),
        ("https://x.com/a.jpg,//y.com/b.jpg", "https://x.com/a.jpg", 2),
        ("https://x.com/w_200,h_100/a.jpg", "https://x.com/w_200,h_100/a.jpg", 1),
        ("https://x.com/a.jpg?crop=1,2.jpg", "https://x.com/a.jpg?crop=1,2.jpg", 1),
        ("red, blue.jpg", "red, blue.jpg", 1),
        ('["a.jpg", "b.jpg"]', "a.jpg", 2),
        ('[{"src": "a.jpg"}, {"src": "b.jpg"}]', "a.jpg", 2),
        ('{"url": "a.jpg"}', "a.jpg", 1),
        (["", None, "b.jpg"], "b.jpg", 1),
        ([], None, 0),
        ("", None, 0),
        ("[draft].jpg", "[draft].jpg", 1),
        ('"a.jpg"', "a.jpg", 1),
        ('<img alt="x" src="https://x.com/a.jpg"/>', "https://x.com/a.jpg", 1),
        ("https://x.com/a.jpg 1x, https://x.com/b.jpg 2x", "https://x.com/a.jpg", 1),
        ("https:\\/\\/x.com\\/a.jpg", "https://x.com/a.jpg", 1),
    ],
)
def test_each_of_several(written: object, first: str | None, count: int) -> None:
    found = list_references(written)
    assert (found[0] if found else None, len(found)) == (first, count)


@pytest.mark.parametrize(
    ("reference", "base", "expected"),
    [
        ("//cdn.shopify.com/a.jpg", "/shop", "https://cdn.shopify.com/a.jpg"),
        ("//cdn.shopify.com/a.jpg", "http://shop.com/feeds", "http://cdn.shopify.com/a.jpg"),
        ("https://x.com/a.jpg?w=1&amp;h=2", "/shop", "https://x.com/a.jpg?w=1&h=2"),
        ("www.x.com/a.jpg", "/shop", "https://www.x.com/a.jpg"),
        ("https://x.com\\img\\a.jpg", "/shop", "https://x.com/img/a.jpg"),
        ("HTTPS://x.com/my pic.jpg", "/shop", "HTTPS://x.com/my%20pic.jpg"),
        ("file:///shop/my%20pics/1.jpg", "/feeds", "/shop/my pics/1.jpg"),
        ("file://localhost/shop/1.jpg", "/feeds", "/shop/1.jpg"),
        ("FILE:/shop/1.jpg", "/feeds", "/shop/1.jpg"),
        ("/media/a.jpg", "https://shop.com/feeds/today", "https://shop.com/media/a.jpg"),
        ("img/a.jpg", "https://shop.com/feeds", "https://shop.com/feeds/img/a.jpg"),
        ("img\\a b.jpg", "https://shop.com/feeds", "https://shop.com/feeds/img/a%20b.jpg"),
        ("../a.jpg", "s3://bucket/lists", "s3://bucket/a.jpg"),
        ("/abs/a.jpg", "/shop", "/abs/a.jpg"),
        ("a.jpg", "/shop", "/shop/a.jpg"),
        ("s3://bucket/a.jpg", "/shop", "s3://bucket/a.jpg"),
    ],
)
def test_where_a_picture_is(reference: str, base: str, expected: str) -> None:
    assert absolute_reference(reference, base) == expected


@pytest.mark.parametrize(
    "reference", ["file:///etc/passwd", "file:/etc/passwd", "C:\\shop\\a.jpg", "\\\\nas\\a.jpg", "s3://bucket/a.jpg"]
)
def test_a_feed_from_the_web_names_nothing_on_this_machine(reference: str) -> None:
    with pytest.raises(ValueError, match="a feed from the web can only name"):
        absolute_reference(reference, "https://shop.com/feeds")


def test_a_feed_from_the_web_cannot_climb_out() -> None:
    for reference in ("/etc/passwd", "../../../../etc/passwd"):
        assert absolute_reference(reference, "https://shop.com/feeds") == "https://shop.com/etc/passwd"


def test_a_picture_inside_the_catalogue() -> None:
    with pytest.raises(ValueError, match="the picture is inside the catalogue"):
        absolute_reference("data:image/png;base64,iVBORw0KGgo=", "/shop")


def test_files_on_another_machine() -> None:
    with pytest.raises(ValueError, match="on another machine, nas"):
        absolute_reference("file://nas/share/1.jpg", "/shop")


@pytest.mark.parametrize(
    ("there", "written"),
    [
        ("p/001.jpg", "p\\001.jpg"),
        ("p/001.JPG", "p/001.jpg"),
        ("P/Foto.jpg", "p\\foto.JPG"),
        ("my pics/ü.jpg", "my%20pics/%C3%BC.jpg"),
        (unicodedata.normalize("NFD", "Hüte/Grün.jpg"), unicodedata.normalize("NFC", "Hüte/Grün.jpg")),
        (unicodedata.normalize("NFC", "Hüte/Grün.jpg"), unicodedata.normalize("NFD", "Hüte/Grün.jpg")),
        (unicodedata.normalize("NFD", "Hüte") + "/Grün.JPG", "Hüte/Grün.jpg"),
        ("pics/001.jpg", "C:\\shop\\pics\\001.jpg"),
        ("001.JPG", "C:\\shop\\pics\\001.jpg"),
        ("share/001.jpg", "\\\\nas\\share\\001.jpg"),
    ],
)
def test_another_spelling_of_a_file(there: str, written: str, tmp_path: Path) -> None:
    (tmp_path / there).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / there).write_bytes(b"1")
    forget_folders()
    assert find_spelling(f"{tmp_path}/{written}") == f"{tmp_path}/{there}"


def test_two_files_that_differ_in_case_only_are_not_guessed(tmp_path: Path) -> None:
    for name in ("A.jpg", "a.jpg"):
        (tmp_path / name).write_bytes(b"1")
    forget_folders()
    assert find_spelling(f"{tmp_path}/a.JPG") is None
    assert find_spelling(f"{tmp_path}/b.jpg") is None
