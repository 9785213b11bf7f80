"""The same engine in a Jina 3 flow with dynamic batching, run by a Python that has Jina: see the Makefile."""

# no `from __future__ import annotations`: Jina reads the types of endpoints when they are defined
import base64
import os
from pathlib import Path

from docarray import BaseDoc, DocList
from jina import Executor, Flow, dynamic_batching, requests

from tests.benchmarks.serving.peers.engine import Engine


class Picture(BaseDoc):
    """A query: a picture in base64, as JSON wants it."""

    image: str


class Hits(BaseDoc):
    """Its answer."""

    hits: list[dict]


class Search(Executor):
    """One encoder and index; Jina gathers the pictures of requests into batches."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.engine = Engine(Path(os.environ["ENGINE"]), threads=int(os.environ["THREADS"]))

    @requests(on="/search")
    @dynamic_batching(preferred_batch_size=8, timeout=10)
    def search(self, docs: DocList[Picture], **_: object) -> DocList[Hits]:
        """Answer a batch."""
        vectors = self.engine.encode([base64.b64decode(doc.image) for doc in docs])
        return DocList[Hits](
            Hits(id=doc.id, hits=found) for doc, found in zip(docs, self.engine.hits(vectors, 10), strict=True)
        )


if __name__ == "__main__":
    with Flow(protocol="http", port=int(os.environ["PORT"]), host="127.0.0.1").add(uses=Search) as flow:
        flow.block()
