"""Catalogues: each form is read as what was written, and each trouble gets a sentence that says what to do."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lookalike.data.catalogue.reader import read_catalogue
from lookalike.data.errors import CatalogueError
from lookalike.data.fetch.client import FetchPolicy
from lookalike.data.stores import open_store
from tests.support.catalogues import read_all
from tests.support.sites import Site, answer, running

ROWS: list[dict[str, Any]] = [
    {"id": "007", "title": "Shoe", "image": "a.png", "price": 10, "colour": "red"},
    {"id": "hats/ü", "title": "Hüte, “groß”", "image": "/abs/b.png", "price": 20, "colour": None},
    {"id": "x", "title": None, "image": "s3://bucket/c.png", "price": 30, "colour": "blue"},
]


def write_csv(folder: Path, text: str | bytes, name: str = "shop.csv") -> str:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def write_jsonl(folder: Path, *rows: object) -> str:
    return write_csv(folder, "\n".join(json.dumps(row) for row in rows), "shop.jsonl")


def write_parquet(folder: Path, table: pa.Table) -> str:
    path = folder / "shop.parquet"
    pq.write_table(table, path)
    return str(path)


def as_csv(folder: Path) -> str:
    lines = [",".join(ROWS[0])]
    lines += [",".join("" if value is None else f'"{value}"' for value in row.values()) for row in ROWS]
    return write_csv(folder, "\n".join(lines))


def as_jsonl(folder: Path) -> str:
    return write_jsonl(folder, *ROWS)


def as_parquet(folder: Path) -> str:
    return write_parquet(folder, pa.Table.from_pylist(ROWS))


@pytest.mark.parametrize("write", [as_csv, as_jsonl, as_parquet])
def test_a_file_is_read_as_it_was_written(write: Callable[[Path], str], tmp_path: Path) -> None:
    read = read_all(write(tmp_path))
    assert read.products.select(["id", "title", "image"]).to_pylist() == [
        {"id": "007", "title": "Shoe", "image": f"{tmp_path}/a.png"},
        {"id": "hats/ü", "title": "Hüte, “groß”", "image": "/abs/b.png"},
        {"id": "x", "title": "", "image": "s3://bucket/c.png"},
    ]
    attributes = read.products["attributes"].to_pylist()
    assert attributes[0] == {"price": 10, "colour": "red"}
    assert attributes[1] == {"price": 20, "colour": None}
    assert read.rejects == []


def test_a_folder_gives_paths_as_ids_and_folders_as_categories(tmp_path: Path) -> None:
    for name in ("shoes/red_shoe-1.png", "shoes/sub/ü.JPG", "top.webp", "shoes/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    for hidden in (".DS_Store", "shoes/._red_shoe-1.png", ".thumbnails/x.png"):
        (tmp_path / hidden).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / hidden).write_bytes(b"1")
    (tmp_path / "broken.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder.png").mkdir()
    read = read_all(str(tmp_path))
    assert read.products["id"].to_pylist() == ["shoes/red_shoe-1.png", "shoes/sub/ü.JPG", "top.webp"]
    assert read.products["title"].to_pylist() == ["red shoe 1", "ü", "top"]
    assert read.products["attributes"].to_pylist() == [
        {"category": "shoes"}, {"category": "shoes"}, {"category": None},
    ]  # fmt: skip
    assert read.products["image_version"].null_count == 0


def test_a_file_name_that_is_no_text_is_a_reject(tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(b"1")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")).write_bytes(b"1")
    read = read_all(str(tmp_path))
    assert read.products["id"].to_pylist() == ["good.png"]
    assert [(reject.reason, reject.id) for reject in read.rejects] == [("unreadable_name", r"caf\udce9.png")]


def test_rows_that_are_no_product_are_rejects(tmp_path: Path) -> None:
    read = read_all(write_csv(tmp_path, "id,image\n1,a.png\n,b.png\n2,\n1,c.png\n3,d.png\n"))
    assert read.products["id"].to_pylist() == ["1", "1", "3"]  # the same id again is for the scan to find
    assert [reject.reason for reject in read.rejects] == ["missing_id", "missing_image"]


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    assert read_all(write_csv(tmp_path, "\ufeffid,image\n1,a.png\n")).products["id"].to_pylist() == ["1"]
    line = '\ufeff{"id": 1, "image": "a.png"}'
    assert read_all(write_csv(tmp_path, line, "shop.jsonl")).products["id"].to_pylist() == ["1"]


def test_csv_values_get_the_type_that_the_whole_column_has(tmp_path: Path) -> None:
    header = "id,image,n,price,code,mixed,new,day,at,empty,word\n"
    rows = "1,a,1,1.5,007,1,true,2026-01-02,2026-01-02T03:04:05,,nan\n"
    late = "2,b,-2,2,008,x,false,2026-01-03,2026-01-02 03:04,,inf\n"
    read = read_all(write_csv(tmp_path, header + rows * 40_000 + late))  # longer than a parser's first look
    kinds = {field.name: str(field.type) for field in read.products["attributes"].type}
    assert kinds == {
        "n": "int64", "price": "double", "code": "string", "mixed": "string", "new": "bool", "day": "date32[day]",
        "at": "timestamp[us]", "empty": "string", "word": "string",
    }  # fmt: skip
    assert read.products["attributes"][-1].as_py()["mixed"] == "x"
    assert read.products.num_rows == 40_001


def test_a_description_may_have_lines_and_commas(tmp_path: Path) -> None:
    read = read_all(write_csv(tmp_path, 'id,image,text\n1,a.png,"one,\ntwo"\n2,b.png,three\n'))
    assert [row["text"] for row in read.products["attributes"].to_pylist()] == ["one,\ntwo", "three"]


def test_quotes_are_part_of_a_title_where_they_are_written_twice_or_open_nothing(tmp_path: Path) -> None:
    for written, title in {
        '"12"" pan"': '12" pan', '12" pan': '12" pan', '12"': '12"', '""""': '"', '"a,\n""b"': 'a,\n"b', '""': "",
    }.items():  # fmt: skip
        for end in ("", "\n", "\r\n\r\n"):
            read = read_all(write_csv(tmp_path, f"id,image,title\n1,a.png,{written}{end}"))
            assert read.products["title"].to_pylist() == [title]


@pytest.mark.parametrize("order", ["id,image,title", "id,title,image"])
@pytest.mark.parametrize("title", ["pan", '"a ""good"" pan"', '"a pan\nof iron"', "pan" * 3000, '"12 inch pan'])
def test_a_quote_that_nothing_closes_is_a_reject_with_its_line(title: str, order: str, tmp_path: Path) -> None:
    rows = [{"id": f"{row}", "image": f"{row}.png", "title": "pan" if row < 600 else title} for row in range(1000)]
    rows[600]["title"] = '"12 inch pan'
    lines = [order, *(",".join(row[name] for name in order.split(",")) for row in rows)]
    read = read_all(write_csv(tmp_path, "\r\n".join(lines)))
    bad = 400 if title.startswith('"12') else 1
    assert (read.products.num_rows, len(read.rejects)) == (1000 - bad, bad)
    assert read.rejects[0].reason == "malformed_row"
    assert read.rejects[0].message.startswith('line 602: the quote (") that opens a value here is not closed')
    assert "600" not in read.products["id"].to_pylist()


def test_a_jsonl_column_of_mixed_types_is_text(tmp_path: Path) -> None:
    rows = [
        {"id": 7, "image": "a.png", "size": 42, "big": 2**80, "tags": ["a", "b"]},
        {"id": "7.0", "image": "b.png", "size": "XL", "big": 1},
    ]
    read = read_all(write_jsonl(tmp_path, *rows))
    assert read.products["id"].to_pylist() == ["7", "7.0"]
    first, second = read.products["attributes"].to_pylist()
    assert first == {"size": "42", "big": str(2**80), "tags": ["a", "b"]}
    assert second == {"size": "XL", "big": "1", "tags": None}


def test_parquet_ids_are_kept_whatever_their_type(tmp_path: Path) -> None:
    for ids in (pa.array([7, 8]), pa.array(["7", "8"]).dictionary_encode(), pa.array(["7", "8"], pa.large_string())):
        table = pa.table({"id": ids, "image": ["a", "b"], "brand": pa.array(["x", "x"]).dictionary_encode()})
        read = read_all(write_parquet(tmp_path, table))
        assert read.products["id"].to_pylist() == ["7", "8"]
        assert read.products["attributes"].to_pylist() == [{"brand": "x"}, {"brand": "x"}]


def test_relative_references_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "#1?").mkdir()  # means nothing in a path
    read = read_all(write_csv(tmp_path / "#1?", "id,image,\n1,img/a.png,\n2,file:///x/b.png,\n"))
    assert read.products["image"].to_pylist() == [f"{tmp_path}/#1?/img/a.png", "/x/b.png"]
    assert "attributes" not in read.products.column_names  # Parquet has no struct without fields


BAD_FILES: dict[str, tuple[str, str | bytes, str]] = {
    "empty csv": ("shop.csv", b"", "is empty"),
    "blank csv": ("shop.csv", b"\n\n", "is empty"),
    "only a header": ("shop.csv", "id,image\n", "has no rows"),
    "no id": ("shop.csv", "sku,image\n1,a\n", "lacks the column 'id'; it has 'sku', 'image'"),
    "nothing right": ("shop.csv", "a;b\n1;2\n", "lacks the column 'id' and 'image'"),
    "a column twice": ("shop.csv", "id,image,id\n1,a,2\n", "the column 'id' twice"),
    "an open quote in the header": ("shop.csv", 'id,image,"title\n1,a,b\n', "line 1: the quote"),
    "empty jsonl": ("shop.jsonl", b"", "has no rows"),
    "deep json": ("shop.jsonl", "[" * 100_000, "line 1: not JSON"),
    "no object": ("shop.jsonl", "[1]\n", "line 1: each line must be a JSON object"),
    "half a character": ("shop.jsonl", '{"id": "a", "image": "b", "x": "\\ud800"}', "'x' holds half a character"),
    "half a character in a name": (
        "shop.jsonl",
        '{"id": 1, "image": "b", "x\\ud800": 1}',
        r"the column 'x\\ud8",
    ),
    "only rows of commas": ("shop.csv", "id,image\n,\n", "has no rows"),
    "only bad rows": ("shop.csv", "id,image\n1,a,b\n2\n3\n", "no usable product: 3 of 3 rejects are malformed_row"),
    "only bad lines": ("shop.jsonl", "{\n{\n", "line 1: not JSON"),
    "no encoding fits": ("shop.csv", b"id,image\n\xff\xe1\xeb\xee\xea\xee,a\n", "line 2: neither in UTF-8 nor"),
    "a page": ("shop.csv", "<!DOCTYPE html><html><body>Log in", "is a page of HTML, perhaps one to log in"),
    "xml": ("shop.xml", "<?xml version='1.0'?><rss/>", "is XML"),
    "empty parquet": ("shop.parquet", b"", "cannot be understood"),
    "no parquet": ("shop.parquet", b"PAR1 this is something else PAR1", "cannot be"),
    "another kind": ("shop.xlsx", b"PK", "a catalogue is a folder of pictures, or CSV"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_told_what_is_wrong(case: str, tmp_path: Path) -> None:
    name, content, message = BAD_FILES[case]
    with pytest.raises(CatalogueError, match=message.replace("[", r"\[")):
        read_all(write_csv(tmp_path, content, name))


def test_columns_without_a_name_are_no_attributes(tmp_path: Path) -> None:
    for text in ("id,image,,\n1,a.png,,\n", "id,image,, \n1,a.png,,\n", ",id,image\n0,1,a.png\n"):  # the last by pandas
        read = read_all(write_csv(tmp_path, text))
        assert read.products["id"].to_pylist() == ["1"]
        assert "attributes" not in read.products.column_names


def test_parquet_columns_of_impossible_types(tmp_path: Path) -> None:
    table = pa.table({"id": pa.array([{"a": 1}]), "image": ["a"]})
    with pytest.raises(CatalogueError, match="'id' is of type struct<a: int64> and must be text or numbers"):
        read_all(write_parquet(tmp_path, table))
    for pictures in ([{"bytes": b"\x89PNG", "path": "a.png"}], [b"\x89PNG"]):
        with pytest.raises(CatalogueError, match=r"'image' is of type .* must be a path or an address: write the p"):
            read_all(write_parquet(tmp_path, pa.table({"id": ["1"], "image": pictures})))
    read = read_all(write_parquet(tmp_path, pa.table({"id": ["1"], "image": ["a"], "x": [b"1"]})))
    assert "attributes" not in read.products.column_names


def test_a_truncated_parquet_file(tmp_path: Path) -> None:
    path = Path(as_parquet(tmp_path))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CatalogueError, match="cannot be"):
        read_all(str(path))


def test_places_without_a_catalogue(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=r"no images below .* looks for"):
        read_all(str(tmp_path))
    (tmp_path / "folder.csv").mkdir()
    for uri, message in {
        str(tmp_path / "missing"): "check the path",
        str(tmp_path / "missing.csv"): "check the path",
        str(tmp_path / "folder.csv"): "no images below",
        "https://example.com/shop.csv": "LOOKALIKE_FETCH__ALLOWED_HOSTS",
        "ftp://example.com/shop.csv": "a path, file://, s3:// or https://",
        "": "name a catalogue",
    }.items():
        with pytest.raises(CatalogueError, match=message):
            read_all(uri)


@pytest.mark.services
class TestS3:
    @pytest.mark.parametrize("write", [as_csv, as_jsonl, as_parquet])
    def test_a_file_in_a_bucket(self, write: Callable[[Path], str], tmp_path: Path, s3_uri: str) -> None:
        path = Path(write(tmp_path))
        open_store(s3_uri).upload(f"shop/{path.name}", path)
        read = read_all(f"{s3_uri}/shop/{path.name}")
        assert read.products["id"].to_pylist() == ["007", "hats/ü", "x"]
        assert read.products["image"].to_pylist() == [f"{s3_uri}/shop/a.png", "/abs/b.png", "s3://bucket/c.png"]

    def test_a_folder_in_a_bucket(self, s3_uri: str) -> None:
        store = open_store(s3_uri)
        for name in ("photos/shoes/ü.png", "photos/top.jpg", "photos/notes.txt", "photos-old/x.png"):
            store.create(name, b"1")
        read = read_all(f"{s3_uri}/photos/")
        assert read.products["id"].to_pylist() == ["shoes/ü.png", "top.jpg"]
        assert read.products["image"].to_pylist()[1] == f"{s3_uri}/photos/top.jpg"
        assert read.products["image_version"].null_count == 0

    def test_a_reference_upwards(self, s3_uri: str) -> None:
        open_store(s3_uri).create("lists/shop.csv", b"id,image\n1,../img/a.png\n")
        assert read_all(f"{s3_uri}/lists/shop.csv").products["image"].to_pylist() == [f"{s3_uri}/img/a.png"]

    def test_places_without_a_catalogue(self, s3_uri: str) -> None:
        for uri, message in {
            f"{s3_uri}/nothing": "no images below",
            f"{s3_uri}/nothing.csv": "check the path",
            "s3://no-such-bucket-here/shop.csv": "create the bucket first",
        }.items():
            with pytest.raises(CatalogueError, match=message):
                read_all(uri)


def test_a_table_over_http(tmp_path: Path) -> None:
    policy = FetchPolicy(allowed_hosts=("127.0.0.1",), allowed_networks=("127.0.0.0/8",))
    with running(Site()) as site:
        policy = replace(policy, allowed_ports=(site.port,))
        site.pages["/shop/list.csv"] = [answer(b"id,image\n1,img/a.png\n2,../b.png\n3,https://cdn.com/c.png\n")]
        base = f"http://127.0.0.1:{site.port}"
        (batch,) = read_catalogue(f"{base}/shop/list.csv", policy)
        with pytest.raises(CatalogueError, match="cannot be fetched"):
            list(read_catalogue(f"{base}/none.csv", policy))
        site.pages["/pictures"] = [answer(b"\xff\xd8\xff" + bytes(50))]
        with pytest.raises(CatalogueError, match="is no catalogue: a catalogue is a folder"):
            list(read_catalogue(f"{base}/pictures", policy))
    assert batch.products["image"].to_pylist() == [
        f"{base}/shop/img/a.png", f"{base}/b.png", "https://cdn.com/c.png",
    ]  # fmt: skip
