"""CSV as shops write it: other separators, encodings and spaces are read, and a bad row is a reject with its line."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

import pytest

from lookalike.data.catalogue.findings import Findings
from lookalike.data.errors import CatalogueError
from tests.support.catalogues import attributes_of, read_all


def write(folder: Path, text: str | bytes, name: str = "shop.csv") -> str:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["shop.csv", "shop.tsv", "shop.txt", "export"])
def test_the_separator_is_found(separator: str, name: str, tmp_path: Path) -> None:
    rows = [["id", "image", "title", "note"], ["1", "a.png", "Shoe, red", "a;b"], ["2", "b.png", "Hat", ""]]
    lines = [separator.join(f'"{cell}"' if set(cell) & set(",;") else cell for cell in row) for row in rows]
    read = read_all(write(tmp_path, "\r\n".join(lines), name))
    assert read.products["title"].to_pylist() == ["Shoe, red", "Hat"]
    assert attributes_of(read) == [{"note": "a;b"}, {"note": None}]


def test_prices_with_a_comma_between_semicolons(tmp_path: Path) -> None:
    read = read_all(write(tmp_path, "id;image;preis\n1;a.png;9,90\n2;b.png;1.249,00\n"))
    assert [row["preis"] for row in attributes_of(read)] == [9.9, 1249.0]


def test_a_spreadsheet_says_its_separator_in_the_first_line(tmp_path: Path) -> None:
    read = read_all(write(tmp_path, "sep=;\r\nid;image;title\r\n1;a.png;One\r\n"))
    assert read.products.select(["id", "title"]).to_pylist() == [{"id": "1", "title": "One"}]


def test_old_line_ends(tmp_path: Path) -> None:
    read = read_all(write(tmp_path, 'id,image,title\r1,a.png,x\r2,b.png,"open\r3,c.png,y\r'))
    assert read.products["id"].to_pylist() == ["1", "3"]
    assert read.rejects[0].message.startswith("line 3: the quote")


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("cp1252", b""),
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("utf-16-le", b""),
        ("utf-32-le", codecs.BOM_UTF32_LE),
    ],
)
def test_the_encoding_is_found(encoding: str, mark: bytes, tmp_path: Path) -> None:
    text = "id,image,title,größe\n1,a.png,Hüte für Mädchen,5\n2,b.png,„Straße“ \u2013 l\u2019été,6\n"
    findings = Findings()
    read = read_all(write(tmp_path, mark + text.encode(encoding)), findings=findings)
    assert read.products["title"].to_pylist() == ["Hüte für Mädchen", "„Straße“ \u2013 l\u2019été"]
    assert attributes_of(read) == [{"größe": 5}, {"größe": 6}]
    assert encoding == "utf-8" or "is read as" in findings.notes[0]


@pytest.mark.parametrize(
    ("encoding", "title"),
    [
        ("cp1250", "Żółta łódź, złoty"),
        ("shift_jis", "赤い靴と帽子"),
        ("cp1251", "красные туфли"),
        ("cp850", "Hüte für Mädchen"),
    ],
)  # fmt: skip
def test_an_encoding_that_nobody_can_tell_is_asked_for(encoding: str, title: str, tmp_path: Path) -> None:
    uri = write(tmp_path, f'id,image,title\n0,z.png,plain\n1,a.png,"{title}"\n'.encode(encoding))
    with pytest.raises(CatalogueError, match=r"line 3: neither .*\(byte \d+ of the line.*--encoding"):
        read_all(uri)
    assert read_all(uri, encoding=encoding).products["title"].to_pylist() == ["plain", title]
    with pytest.raises(CatalogueError, match="there is no encoding 'klingon'"):
        read_all(uri, encoding="klingon")


@pytest.mark.parametrize(
    ("encoding", "rows", "where"),
    [
        (
            "shift_jis",
            "1,a.png,赤い靴\n2,b.png,赤".encode("shift_jis") + b"\xff\n",
            "line 3: not in shift_jis (letter 10 of",
        ),
        ("utf-8", b"1,a.png,H\xfct\n", "line 2: not in utf-8 (letter 10 of the line,"),
        (
            None,
            b"1,a.png,red\n2,b.png,H\xfct\n3,c.png,\xc3\xbc\xc3\xbc\n",
            "line 3: neither all in UTF-8 nor all in another (byte 10 of",
        ),
        (None, b"1,a.png,red\n2,b.png,\x81\n", "line 3: neither in UTF-8 nor in Windows-1252 (byte 9 of"),
    ],
)
def test_where_a_byte_cannot_be_read(encoding: str | None, rows: bytes, where: str, tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=re.escape(where)):
        read_all(write(tmp_path, b"id,image,title\n" + rows), encoding=encoding)


def test_a_value_that_is_not_in_utf8_is_a_reject_with_its_line(tmp_path: Path) -> None:
    lines = [f"{row},{row}.png,Hüte für Nº {row}".encode() for row in range(100)]
    lines[41] = "41,41.png,Hüte".encode("cp1252")
    read = read_all(write(tmp_path, b"\n".join([b"id,image,title", *lines])))
    assert read.products.num_rows == 99
    (reject,) = read.rejects
    assert reject.message.startswith("line 43: a value is not in UTF-8, and the rest of the file is (byte 12 of")


def test_spaces_around_values_are_none_of_them(tmp_path: Path) -> None:
    read = read_all(
        write(tmp_path, 'id , image,price,\u00a0note\n 1 , a.png ,\u00a09.5\u00a0,  \n2," https://x.com/b.png",7,x \n')
    )
    assert read.products["id"].to_pylist() == ["1", "2"]
    assert read.products["image"].to_pylist() == [f"{tmp_path}/a.png", "https://x.com/b.png"]
    assert attributes_of(read) == [{"price": 9.5, "note": None}, {"price": 7.0, "note": "x"}]


def test_rows_of_empty_cells_are_skipped(tmp_path: Path) -> None:
    findings = Findings()
    rows = "".join(f"{row},{row}.png,t\n" for row in range(12))
    read = read_all(write(tmp_path, "id,image,title\n" + rows + ",,\n" * 900 + ",,,,\n , ,\n;\n"), findings=findings)
    assert (read.products.num_rows, len(read.rejects)) == (12, 1)  # a lone semicolon is no empty cell
    assert "rows of empty cells, skipped: 902" in findings.notes


def test_a_row_with_a_comma_too_many_is_a_reject_with_its_line(tmp_path: Path) -> None:
    lines = ["id,image,title", *(f'{row},{row}.png,"a\nb"' for row in range(50_000))]
    lines[101], lines[40_001] = "100,100.png,small, red", "40000"
    read = read_all(write(tmp_path, "\n".join(lines)))
    assert read.products.num_rows == 49_998
    first, second = read.rejects
    assert first.message.startswith("line 202: 4 values, and the first line has 3 names, separated by commas: 100,100")
    assert second.message.startswith("line 80,001: 1 values")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_line_of_a_bad_row_is_its_own(end: str, tmp_path: Path) -> None:
    rows = ["id,image", "12,2", "2", "1,2", "2", '"x', 'y",z,2', "3,c.png", "2"]
    read = read_all(write(tmp_path, end.join(rows)))
    assert [reject.message.partition(":")[0] for reject in read.rejects] == ["line 3", "line 5", "line 6", "line 9"]


def test_empty_cells_behind_the_last_name_are_nothing(tmp_path: Path) -> None:
    read = read_all(write(tmp_path, "id,image\n1,a.png\n2,b.png,,\n3,c.png,\n"))
    assert sorted(read.products["id"].to_pylist()) == ["1", "2", "3"]
    assert not read.rejects


def test_a_value_where_there_is_no_name_is_a_shifted_row(tmp_path: Path) -> None:
    read = read_all(write(tmp_path, "id,image,title,\n1,a.png,x,\n2,b.png,small, red\n"))
    assert read.products["id"].to_pylist() == ["1"]
    assert read.rejects[0].message.startswith("line 3: 4 values")


def test_a_column_that_is_repeated_is_left_out_with_a_word(tmp_path: Path) -> None:
    findings = Findings()
    read = read_all(write(tmp_path, "id,image,more,more, more\n1,a.png,x,y,z\n"), findings=findings)
    assert attributes_of(read) == [{"more": "x"}]
    assert findings.notes == ["columns that are there more than once: the first is used: 2, such as more"]


def test_ids_that_pandas_made_floats_are_numbers_again(tmp_path: Path) -> None:
    read = read_all(write(tmp_path, "id,image\n4006381333931.0,a.png\n7.0,b.png\n,c.png\n"))
    assert read.products["id"].to_pylist() == ["4006381333931", "7"]
    mixed = read_all(write(tmp_path, "id,image\n1.0,a.png\n1.1,b.png\n"))
    assert mixed.products["id"].to_pylist() == ["1.0", "1.1"]


def test_an_id_that_a_spreadsheet_has_shortened_is_a_reject(tmp_path: Path) -> None:
    read = read_all(write(tmp_path, "id;image\n4,00638E+12;a.png\nx;b.png\n"))
    assert [reject.reason for reject in read.rejects] == ["shortened_id"]


def test_parts_of_a_csv(tmp_path: Path) -> None:
    folder = tmp_path / "out.csv"
    folder.mkdir()
    (folder / "_SUCCESS").write_bytes(b"")
    write(folder, "id,image,n\n1,a.png,1\n", "part-0.csv")
    write(folder, "id,image,n\n2,b.png,x\n", "part-1.csv")
    read = read_all(str(folder))
    assert attributes_of(read) == [{"n": "1"}, {"n": "x"}]
    assert read.products["image"].to_pylist() == [f"{folder}/a.png", f"{folder}/b.png"]


@pytest.mark.parametrize("separator", [",", ";"])
def test_quotes_behind_a_space(separator: str, tmp_path: Path) -> None:
    lines = [["id", ' "image"', " title"], ["1", ' "a.png"', ' "Shoe, ""red""; 5"'], ["2", " b.png", " plain"]]
    read = read_all(write(tmp_path, "\n".join(separator.join(line) for line in lines)))
    assert read.products["title"].to_pylist() == ['Shoe, "red"; 5', "plain"]


def test_lines_above_the_names_are_skipped(tmp_path: Path) -> None:
    findings = Findings()
    text = 'Products of our shop;;\n"exported\n2026";;\n\nid;image;price\n1;a.png;9,90\n2;b.png\n'
    read = read_all(write(tmp_path, text), findings=findings)
    assert attributes_of(read) == [{"price": 9.9}]
    assert read.rejects[0].message.startswith("line 7: 2 values")
    assert "lines above the names of the columns, skipped: 4" in findings.notes


def test_values_that_a_spreadsheet_protects(tmp_path: Path) -> None:
    read = read_all(write(tmp_path, 'id,image,code\n="0042",a.png,"=""007"""\n="0043",b.png,8\n'))
    assert read.products["id"].to_pylist() == ["0042", "0043"]
    assert attributes_of(read) == [{"code": "007"}, {"code": "8"}]


def test_names_may_be_in_another_case(tmp_path: Path) -> None:
    read = read_all(write(tmp_path, "ID,Image,Title,Price\n1,a.png,Shoe,5\n"))
    assert read.products.select(["id", "title"]).to_pylist() == [{"id": "1", "title": "Shoe"}]
    assert attributes_of(read) == [{"Price": 5}]


def test_a_very_long_value_in_a_bad_row_is_no_empty_row(tmp_path: Path) -> None:
    read = read_all(write(tmp_path, f"id,image\n1,a.png\n2,b.png,{'x' * 500_000}\n"))
    assert len(read.rejects) == 1
