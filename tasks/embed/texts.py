"""Texts without a vector: which they are, and what one worker does with some of them.

A text is known by its sha256, so each is encoded once: a night in which only prices change encodes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from lookalike.data.embeddings import HASH, Embeddings, differ, hash_array, positions
from lookalike.data.partitioned import BUCKETS, PartitionedTable, hash_buckets, regroup
from lookalike.data.snapshots.manifest import EncoderSection
from lookalike.data.stores import open_store
from lookalike.tasks.embed.work import PARTITIONS_PER_WORKER, read_known
from lookalike.tasks.encoders.texts.base import encode_texts
from lookalike.tasks.encoders.texts.content import hash_texts, read_texts
from lookalike.tasks.encoders.texts.stored import load_text_encoder

LEAST_TEXTS = 256
MOST_TEXTS = 16_384
MOST_BYTES = 2**23  # of texts in a partition: they travel to the worker

SCHEMA = pa.schema([("text_hash", HASH), ("text", pa.string())])


class TextsToEmbed:
    """Texts without a vector: `text_hash` and `text`, each text once, by range of hashes."""

    def __init__(self, texts: PartitionedTable, known: int) -> None:
        """Take the texts, and how many others have their vector."""
        self.texts = texts
        self.known = known

    @property
    def count(self) -> int:
        """How many there are."""
        return self.texts.rows

    def cut_partitions(self, workers: int) -> Iterator[pa.Table]:
        """Cut the texts into tables that each keep one worker busy for a while."""
        fair = -(-self.count // (PARTITIONS_PER_WORKER * max(workers, 1)))
        size = max(1, min(MOST_TEXTS, max(LEAST_TEXTS, fair)))
        return regroup(self.texts.tables(), size, weigh=_count_bytes, most_weight=MOST_BYTES)


def find_texts_to_embed(
    products: Iterable[pa.Table],
    fields: Sequence[str],
    embeddings: Embeddings,
    new_table: Callable[[str], PartitionedTable],
) -> TextsToEmbed:
    """Return the texts of products, by range of hashes, that have no vector yet. Raises `InputError`."""
    every = new_table("texts")
    for table in products:
        texts = [text for text in dict.fromkeys(read_texts(table, fields)) if text]
        hashes = hash_texts(texts)
        column = pa.array(hashes.tolist(), HASH)
        every.add(pa.table([column, pa.array(texts, pa.string())], schema=SCHEMA), hash_buckets(positions(hashes)))
    known = read_known(embeddings, new_table("known-texts")) if every.rows else new_table("known-texts")
    missing, count = new_table("missing-texts"), 0
    for bucket in range(BUCKETS):
        table = every.read(bucket)
        if table is not None:
            once = _each_once(table)
            count += once.num_rows
            there = known.read(bucket)
            new = once if there is None else _without(once, there)
            missing.add(new, np.full(new.num_rows, bucket))
    return TextsToEmbed(missing, count - missing.rows)


def embed_texts(texts: pa.Table, *, store: str, encoder: EncoderSection, threads: int) -> int:
    """Encode the texts of a table and write their vectors to the store; return how many.

    A text of which the encoder knows nothing gets a vector of zeros, so that no later run tries it again.
    """
    vectors = encode_texts(load_text_encoder(store, encoder, threads), texts["text"].to_pylist())
    Embeddings(open_store(store), encoder.fingerprint).write(texts["text_hash"].to_pylist(), vectors)
    return len(vectors)


def give_up_text(texts: pa.Table, *, store: str, encoder: EncoderSection) -> int:
    """Write zeros for the one text that kills any worker that encodes it: its product is found by its picture."""
    zeros = np.zeros((texts.num_rows, encoder.dimension), np.float32)
    Embeddings(open_store(store), encoder.fingerprint).write(texts["text_hash"].to_pylist(), zeros)
    return 0


def _each_once(texts: pa.Table) -> pa.Table:
    ordered = texts.sort_by("text_hash")
    return ordered.filter(pa.array(differ(hash_array(ordered["text_hash"]))))


def _without(texts: pa.Table, known: pa.Table) -> pa.Table:
    there = np.isin(hash_array(texts["text_hash"]), hash_array(known["image_hash"]))
    return texts.filter(pa.array(~there))


def _count_bytes(texts: pa.Table) -> list[int]:
    return [len(text) for text in texts["text"].to_pylist()]
