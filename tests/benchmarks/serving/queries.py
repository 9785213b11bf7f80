"""Whole HTTP requests, a file each, that the load generator sends."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from lookalike.infra.demo.processes import HOST
from tests.benchmarks.distortions import distorted
from tests.benchmarks.picking import evenly
from tests.benchmarks.serving.shops import product_id

BOUNDARY = "a-boundary-that-no-picture-holds"
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}


def pictures(folder: Path, count: int) -> list[bytes]:
    """Return `count` different JPEGs as phones send them, of the pictures in a folder."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if len(files) < count:
        raise SystemExit(f"{folder} has {len(files)} pictures, and {count} are needed: run `make demo ONCE=1` first")
    return [distorted(path.read_bytes(), "photo") for path in evenly(files, count)]


def multipart(images: Iterable[bytes]) -> list[bytes]:
    """Searches by picture, as a form."""
    return [_post(f"multipart/form-data; boundary={BOUNDARY}", _form(image)) for image in images]


def jina(images: Iterable[bytes]) -> list[bytes]:
    """The same as Jina's gateway takes them."""
    bodies = ({"data": [{"image": base64.b64encode(image).decode()}]} for image in images)
    return [_post("application/json", json.dumps(body).encode(), path="/search") for body in bodies]


def similar(count: int, products: int) -> list[bytes]:
    """Searches by product."""
    rows = np.random.default_rng(1).integers(0, products, count)
    return [f"GET /v1/products/{product_id(0, row)}/similar HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode() for row in rows]


def vectors(count: int, dimension: int) -> list[bytes]:
    """Searches by vector of the encoder's space."""
    found = np.abs(np.random.default_rng(2).standard_normal((count, dimension), np.float32))
    return [
        _post("application/json", json.dumps({"vector": [round(float(v), 5) for v in one]}).encode()) for one in found
    ]


def write(folder: Path, requests: Iterable[bytes]) -> Path:
    """Write requests for the load generator; return the folder."""
    folder.mkdir(parents=True)
    for number, request in enumerate(requests):
        (folder / f"{number:05}").write_bytes(request)
    return folder


def _form(image: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="query.jpg"\r\n\r\n'.encode()
    k = f'\r\n--{BOUNDARY}\r\nContent-Disposition: form-data; name="k"\r\n\r\n10\r\n--{BOUNDARY}--\r\n'.encode()
    return head + image + k


def _post(content_type: str, body: bytes, *, path: str = "/v1/search") -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
