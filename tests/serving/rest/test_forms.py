"""Forms as clients write them: within the standards, and as other servers read them too."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest

from lookalike.serving.rest.forms import write_form
from tests.support.client import Client
from tests.support.shop import picture

GOOD = picture(1)
TRICKY = GOOD + b"\n\nno head\r\n--xx\r\n--\n\r\n"
"""A picture with what looks like parts of a form after its end."""
HEAD = b'Content-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png'
K = b'Content-Disposition: form-data; name="k"'


def form(
    *, head: bytes = HEAD, before: bytes = b"", end: bytes = b"\r\n", after: bytes = b"", data: bytes = GOOD
) -> bytes:
    head = head.replace(b"\r\n", end)
    parts = [before, b"--x", end, head, end, end, data, end, b"--x", end, K, end, end, b"3", end, b"--x--", after]
    return b"".join(parts)


SPELLINGS = {
    "as most": form(),
    "a preamble": form(before=b"This is a form.\r\n"),
    "a preamble of lines": form(before=b"\r\nOne --x\r\n -- x\r\ntwo\r\n\r\n"),
    "an empty line first": form(before=b"\r\n"),
    "bare LF": form(end=b"\n"),
    "bare LF and a preamble": form(before=b"words\n", end=b"\n", after=b"\n"),
    "an epilogue": form(after=b"\r\nand no more"),
    "only filename*": form(head=HEAD.replace(b'filename="a.png"', b"filename*=UTF-8''%c3%a4.png")),
    "filename* first": form(
        head=HEAD.replace(b'filename="a.png"', b"filename*=UTF-8'en'%c3%a4.png; filename=\"a.png\"")
    ),
    "FileName*": form(head=HEAD.replace(b'filename="a.png"', b"FileName*=iso-8859-1''a.png")),
    "odd bytes": form(data=TRICKY),
    "odd bytes and a preamble": form(before=b"words\r\n", data=TRICKY),
    "odd bytes and bare LF": form(end=b"\n", data=TRICKY),
    "spaces after the boundary": form(before=b"\r\n").replace(b"--x\r\n", b"--x  \r\n"),
}


@pytest.mark.parametrize("body", SPELLINGS.values(), ids=SPELLINGS)
def test_every_spelling_of_a_form_is_read(client: Client, body: bytes) -> None:
    reply = client.post("/v1/search", content=body, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert reply.status_code == 200, reply.text
    hits = reply.json()["hits"]
    assert len(hits) == 3
    assert hits[0]["score"] > 0.999


def test_the_bytes_of_a_file_stay_as_they_are() -> None:
    written = write_form(b"words\n" + form(end=b"\n", data=TRICKY), b"x")
    assert TRICKY in written
    assert written == form(data=TRICKY) + b"\r\n"


@pytest.mark.parametrize(
    "body",
    [b"words\r\n--y\r\n", b"\r\n--x", b"\n" * 1000, form(before=b"words\r\n")[:-40], b"words\n--x\nno head\n--x--"],
)
def test_what_is_no_form_stays_none(client: Client, body: bytes) -> None:
    reply = client.post("/v1/search", content=body, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert reply.status_code in {400, 422}, reply.text


def test_a_form_of_many_boundaries_costs_little(client: Client) -> None:
    body = b"\n" + b"--x\n" * 2_000_000
    reply = client.post("/v1/search", content=body, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert reply.status_code in {400, 422}


@pytest.mark.parametrize(
    ("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("br", bytes), ("GZIP, x", gzip.compress)]
)
@pytest.mark.parametrize("path", ["/v1/search", "/v1/search/batch"])
def test_a_compressed_request_is_refused_by_name(client: Client, path: str, coding: str, pack: type[bytes]) -> None:
    body = pack(json.dumps({"product_id": "a"}).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": coding}
    reply = client.post(path, content=body, headers=headers)
    assert (reply.status_code, reply.json()["code"]) == (415, "unsupported_media_type")
    assert coding.lower() in reply.json()["detail"]


def test_identity_is_no_compression(client: Client) -> None:
    headers = {"Content-Encoding": "Identity"}
    assert client.post("/v1/search", json={"product_id": "a"}, headers=headers).status_code == 200
