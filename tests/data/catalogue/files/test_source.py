"""Where catalogues come from: addresses with a query, compressed files, folders of parts."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lookalike.data.catalogue.findings import Findings
from lookalike.data.catalogue.reader import ReadOptions, read_catalogue
from lookalike.data.errors import CatalogueError
from lookalike.data.fetch.client import FetchPolicy
from tests.support.catalogues import attributes_of, read_all
from tests.support.sites import Site, answer, running

CSV = b"id,image\n1,a.png\n2,../b.png\n"
JSONL = b'{"id": 1, "image": "a.png"}\n{"id": 2, "image": "../b.png"}\n'


def as_parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"id": ["1", "2"], "image": ["a.png", "../b.png"]}), sink)
    return sink.getvalue()


def as_zip(data: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__MACOSX/._feed.csv", b"x")
        archive.writestr("feed.csv", data)
    return sink.getvalue()


def as_zstd(data: bytes) -> bytes:
    compressed: bytes = pa.Codec("zstd").compress(data, asbytes=True)
    return compressed


PACKERS: list[Callable[[bytes], bytes]] = [gzip.compress, bz2.compress, lzma.compress, as_zip, as_zstd]


@pytest.mark.parametrize("pack", PACKERS)
@pytest.mark.parametrize("name", ["feed.csv.gz", "feed.csv", "feed"])
def test_a_compressed_catalogue(pack: Callable[[bytes], bytes], name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(pack(CSV))
    assert read_all(str(tmp_path / name)).products["id"].to_pylist() == ["1", "2"]


def test_a_compressed_file_that_is_cut(tmp_path: Path) -> None:
    (tmp_path / "feed.csv.gz").write_bytes(gzip.compress(CSV * 1000)[:-20])
    with pytest.raises(CatalogueError, match=r"cannot be unpacked: .*: fetch or export it again"):
        read_all(str(tmp_path / "feed.csv.gz"))


def test_a_workbook_and_an_archive_of_many(tmp_path: Path) -> None:
    for names, message in ((["xl/workbook.xml"], "is a workbook"), (["a.csv", "b.csv"], "archive of 2 files")):
        with zipfile.ZipFile(tmp_path / "feed.zip", "w") as archive:
            for name in names:
                archive.writestr(name, b"id,image\n1,a\n")
        with pytest.raises(CatalogueError, match=message):
            read_all(str(tmp_path / "feed.zip"))


@pytest.mark.parametrize(
    "path",
    ["/shop/feed.csv?token=abc", "/shop/export?format=csv", "/shop/feed", "/shop/feed.csv?X-Amz-Signature=a/b%2Fc"],
)
@pytest.mark.parametrize("body", [CSV, JSONL, as_parquet(), gzip.compress(CSV)], ids=["csv", "jsonl", "parquet", "gz"])
def test_an_address_of_any_form(path: str, body: bytes) -> None:
    if path.endswith("c") or "feed.csv?" in path:
        body = CSV  # what the path says counts
    with running(Site()) as site:
        policy = allowing(site)
        site.pages[path] = [answer(body)]
        base = f"http://127.0.0.1:{site.port}"
        (batch,) = read_catalogue(f"{base}{path}", policy)
    assert batch.products["image"].to_pylist() == [f"{base}/shop/a.png", f"{base}/b.png"]


SHOE = "赤い靴と帽子"


@pytest.mark.parametrize(
    ("body", "content_type", "title", "note"),
    [
        (SHOE.encode("shift_jis"), "text/csv; charset=Shift_JIS", SHOE, "read as SHIFT_JIS, as its server says"),
        ("Żółta".encode("cp1250"), 'text/csv; header=present; charset="windows-1250"', "Żółta", "as its server says"),
        (SHOE.encode(), "text/csv; charset=shift_jis", SHOE, None),  # bytes that make UTF-8 say more
        (b"H\xfcte", "text/csv; charset=utf-8", "Hüte", "Windows-1252 (Western European), as its bytes say"),
        (b"H\xfcte", "text/csv; charset=klingon", "Hüte", "as its bytes say"),
        (b"H\xfcte", "", "Hüte", "as its bytes say"),
    ],
)
def test_the_charset_that_a_server_says(body: bytes, content_type: str, title: str, note: str | None) -> None:
    findings = Findings()
    with running(Site()) as site:
        site.pages["/feed"] = [answer(b"id,image,title\n1,a.png," + body + b"\n", Content_Type=content_type)]
        (batch,) = read_catalogue(f"http://127.0.0.1:{site.port}/feed", allowing(site), findings=findings)
    assert batch.products["title"].to_pylist() == [title]
    assert [note is not None and note in one for one in findings.notes] == ([True] if note else [])


def test_what_people_say_of_an_encoding_goes_before_what_a_server_says() -> None:
    with running(Site()) as site:
        site.pages["/feed"] = [answer(b"id,image,title\n1,a.png,\xaf\n", Content_Type="text/csv; charset=shift_jis")]
        options = ReadOptions(allowing(site), encoding="cp1250")
        (batch,) = read_catalogue(f"http://127.0.0.1:{site.port}/feed", options=options)
    assert batch.products["title"].to_pylist() == ["Ż"]


def allowing(site: Site) -> FetchPolicy:
    return FetchPolicy(allowed_hosts=("127.0.0.1",), allowed_networks=("127.0.0.0/8",), allowed_ports=(site.port,))


def test_an_error_does_not_show_the_token_of_an_address() -> None:
    with running(Site()) as site:
        policy = allowing(site)
        for body in (b"id;bild\n1;a\n", b"id,image\n", b"<html>", b"PK\x03\x04", b"id,image\n,a\n"):
            site.pages["/feed?token=sesame"] = [answer(body)]
            with pytest.raises(CatalogueError, match=r"/feed\?token=…") as caught:
                list(read_catalogue(f"http://127.0.0.1:{site.port}/feed?token=sesame", policy))
            assert "sesame" not in str(caught.value)


def test_a_catalogue_given_as_file_address(tmp_path: Path) -> None:
    (tmp_path / "my feed.csv").write_bytes(CSV)
    for uri in (
        f"file://{tmp_path}/my%20feed.csv",
        f"file://localhost{tmp_path}/my%20feed.csv",
        f"file:{tmp_path}/my feed.csv",
    ):
        assert read_all(uri).products.num_rows == 2
    with pytest.raises(CatalogueError, match="on another machine"):
        read_all("file://nas/share/feed.csv")


@pytest.mark.parametrize("name", ["out.parquet", "out"])
def test_a_folder_of_parquet(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "_SUCCESS").write_bytes(b"")
    (folder / ".part-0.crc").write_bytes(b"x")
    pq.write_table(pa.table({"id": ["1"], "image": ["a.png"], "n": [1]}), folder / "part-0.parquet")
    pq.write_table(pa.table({"image": ["b.png"], "id": ["2"], "n": [2.5], "new": ["x"]}), folder / "part-1.parquet")
    read = read_all(str(folder))
    assert read.products["id"].to_pylist() == ["1", "2"]
    assert attributes_of(read) == [{"n": 1.0, "new": None}, {"n": 2.5, "new": "x"}]


def test_a_folder_of_partitions(tmp_path: Path) -> None:
    for year in (2025, 2026):
        folder = tmp_path / f"year={year}"
        folder.mkdir()
        pq.write_table(pa.table({"id": [str(year)], "image": ["a.png"]}), folder / "0.parquet")
    assert read_all(str(tmp_path)).products["id"].to_pylist() == ["2025", "2026"]


def test_a_folder_of_pictures_with_a_table_beside_them_is_one_of_pictures(tmp_path: Path) -> None:
    (tmp_path / "shoes").mkdir()
    (tmp_path / "shoes" / "a.png").write_bytes(b"1")
    (tmp_path / "a.csv").write_bytes(CSV)
    (tmp_path / "b.csv").write_bytes(CSV)
    assert read_all(str(tmp_path)).products["id"].to_pylist() == ["shoes/a.png"]


def test_an_array_of_objects(tmp_path: Path) -> None:
    rows = ",\n".join(f'{{"id": {row}, "image": "{row}.png", "text": "{"x" * 1000}"}}' for row in range(3000))
    (tmp_path / "feed.json").write_text(f"[ {rows}\n]\n")
    assert read_all(str(tmp_path / "feed.json")).products.num_rows == 3000
    (tmp_path / "feed.json").write_text('{\n "products": [{"id": 1, "image": {"src": "a"}, "variants": [{"x": 1}]}]}')
    assert read_all(str(tmp_path / "feed.json")).products["image"].to_pylist() == [f"{tmp_path}/a"]
    (tmp_path / "feed.json").write_text('[{"id": 1, "image": "a"}, {"id": ')
    with pytest.raises(CatalogueError, match="item 2 of the array is not JSON"):
        read_all(str(tmp_path / "feed.json"))


def test_ids_that_floats_cannot_hold_are_rejects(tmp_path: Path) -> None:
    ids = pa.array([9007199254740994.0, 12345678901234567890.0, 5.0, 2.5])
    pq.write_table(pa.table({"id": ids, "image": ["a"] * 4}), tmp_path / "feed.parquet")
    read = read_all(str(tmp_path / "feed.parquet"))
    assert read.products["id"].to_pylist() == ["5", "2.5"]
    assert {reject.reason for reject in read.rejects} == {"shortened_id"}


def test_float_ids_of_jsonl(tmp_path: Path) -> None:
    (tmp_path / "feed.jsonl").write_text('{"id": 4006381333931.0, "image": "a"}\n{"id": 1.5, "image": "b"}\n')
    assert read_all(str(tmp_path / "feed.jsonl")).products["id"].to_pylist() == ["4006381333931", "1.5"]


def test_float_ids_and_nested_columns_of_programs(tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": pa.array([4006381333931.0, None, 7.0]),
            "image": [["a.png", "b.png"], ["c.png"], []],
            "variants": [[{"sku": 1}], [], None],
            "price": ["19.90 EUR", "9.90 EUR", "100.00 EUR"],
        }
    )
    pq.write_table(table, tmp_path / "feed.parquet")
    read = read_all(str(tmp_path / "feed.parquet"))
    assert read.products["id"].to_pylist() == ["4006381333931"]
    assert attributes_of(read) == [{"price": 19.9}]
    assert [reject.reason for reject in read.rejects] == ["missing_id", "missing_image"]
