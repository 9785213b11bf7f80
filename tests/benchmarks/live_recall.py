"""Recall as queries meet it: pictures that are in no index, over HTTP, against exact search over the stored vectors."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from lookalike.data.catalogue.normalised import read_catalogue_range
from lookalike.data.embeddings import Embeddings, hash_array
from lookalike.data.snapshots.blobs import BlobCache
from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.store import read_manifest
from lookalike.data.stores import ObjectStore, open_store
from lookalike.tasks.build.shard import ExactAnswers
from lookalike.tasks.build.train import PROJECTED_AT_A_TIME
from lookalike.tasks.search.neighbours import EQUAL, RECALL_AT
from lookalike.tasks.search.projection import Vectors
from lookalike.tasks.search.searcher import Searcher


def live_recall(url: str, store: str, pictures: Sequence[bytes]) -> dict[str, Any]:
    """Search pictures on a running server; return the recall@10 reached beside that of the manifest.

    What is exact is computed from the vectors as they were embedded, and projected, not from what the index holds.
    """
    opened = open_store(store)
    manifest = read_manifest(opened, Channel(opened).current().snapshot)
    with tempfile.TemporaryDirectory(prefix="lookalike-recall-") as folder:
        searcher = Searcher.open(opened, manifest, BlobCache(Path(folder)), threads=1)
        queries = np.stack([searcher.direction(searcher.embed(picture)) for picture in pictures])
        ids, answers = _exact(opened, searcher, queries)
    shares = []
    with httpx.Client(base_url=url, timeout=30) as client:
        for number, picture in enumerate(pictures):
            reply = client.post("/v1/search", files={"image": picture}, data={"k": str(RECALL_AT)})
            reply.raise_for_status()
            if reply.json()["snapshot"] != manifest.id:
                raise SystemExit("the server went on to another snapshot")
            scores, rows = answers.neighbours.scores[number], answers.neighbours.rows[number]
            right = set(ids[rows[scores >= scores[RECALL_AT - 1] - EQUAL]].tolist())
            shares.append(sum(hit["id"] in right for hit in reply.json()["hits"]) / RECALL_AT)
    return {
        "queries": len(pictures),
        "index": f"{manifest.index.key}, nprobe {manifest.index.nprobe}",
        "manifest": round(manifest.quality["recall_at_10"], 4),
        "live": round(float(np.mean(shares)), 4),
        "of_the_first_200": round(float(np.mean(shares[:200])), 4),
        "standard_error": round(float(np.std(shares) / np.sqrt(len(shares))), 4),
    }


def _exact(store: ObjectStore, searcher: Searcher, queries: Vectors) -> tuple[NDArray[np.str_], ExactAnswers]:
    """Return the ids of all products, and the exact answers by their places among these."""
    manifest = searcher.manifest
    products = read_catalogue_range(store, manifest.catalogue.id)
    hashes, vectors = Embeddings(store, manifest.encoder.fingerprint).read()
    places = np.searchsorted(hashes, hash_array(products["image_hash"]))
    answers = ExactAnswers(queries, 2 * RECALL_AT)
    for start in range(0, len(places), PROJECTED_AT_A_TIME):
        some = vectors[places[start : start + PROJECTED_AT_A_TIME]].astype(np.float32)
        directions = np.stack([searcher.direction(vector) for vector in some])
        answers.add(directions, np.arange(start, start + len(some)))
    return np.array(products["id"].to_pylist()), answers
