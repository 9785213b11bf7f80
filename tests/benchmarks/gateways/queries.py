"""The same queries as each gateway writes them: ten hits with all fields, found by a product, a vector or a picture."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lookalike.serving.grpc.pb import lookalike_pb2 as pb
from tests.support.shop import picture, product_ids

K = 10
DIMENSION = 192
"""Of the `fake` encoder."""
VECTORS = 64
PICTURES = 640
"""More than are under way at a time: a picture that is asked about twice at once would be embedded once."""
SIZE = (400, 300)

OPERATION = """query ($q: SearchInput!) {
  search(query: $q) { snapshot hits { id title attributes image_url score } }
}"""


@dataclass(frozen=True, slots=True)
class Query:
    """One query: exactly one of the three is set. `vector` holds little-endian 32-bit floats."""

    product: str | None = None
    vector: bytes | None = None
    picture: bytes | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields of REST's JSON."""
        if self.product is not None:
            return {"product_id": self.product, "k": K}
        if self.vector is not None:
            return {"vector": np.frombuffer(self.vector, "<f4").tolist(), "k": K}
        return {"image": base64.b64encode(self.picture or b"").decode(), "k": K}

    def to_http(self) -> tuple[str, bytes]:
        """Return the content type and the body of `POST /v1/search`: a form for a picture."""
        if self.picture is None:
            return "application/json", json.dumps(self.to_json()).encode()
        head = '--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        tail = f'\r\n--b\r\nContent-Disposition: form-data; name="k"\r\n\r\n{K}\r\n--b--\r\n'
        return "multipart/form-data; boundary=b", head.encode() + self.picture + tail.encode()

    def to_graphql(self) -> bytes:
        """Return the body of `POST /graphql`."""
        return json.dumps({"query": OPERATION, "variables": {"q": self.to_json()}}).encode()

    def to_message(self) -> pb.SearchRequest:
        """Return a message of gRPC."""
        packed = None if self.vector is None else pb.Vector(packed=self.vector)
        return pb.SearchRequest(product_id=self.product, vector=packed, image=self.picture, k=K)

    def to_frames(self, number: int) -> Sequence[str | bytes]:
        """Return the frames of a WebSocket."""
        head: dict[str, Any] = {"type": "query", "id": number, "k": K}
        if self.product is not None:
            return [json.dumps({**head, "product_id": self.product})]
        name, content = ("image", self.picture) if self.vector is None else ("vector", self.vector)
        return [json.dumps({**head, "frames": 1, name: {"frame": 0}}), content or b""]


def make_queries(products: int) -> Mapping[str, Sequence[Query]]:
    """Return queries of each kind, which are asked in turn."""
    random = np.random.default_rng(1)
    vectors = random.normal(size=(VECTORS, DIMENSION)).astype("<f4")
    pictures = [picture(10_000 + seed, SIZE, kind="JPEG") for seed in range(PICTURES)]
    return {
        "product": [Query(product=product) for product in product_ids(products)],
        "vector": [Query(vector=vector.tobytes()) for vector in vectors],
        "picture": [Query(picture=one) for one in pictures],
    }
