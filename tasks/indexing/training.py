"""Training: what all shards share, learnt once from one unbiased sample."""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray

from tasks.indexing.planning import TRAINING_SAMPLE, Plan
from tasks.indexing.projection import Projection, learn, normalise
from tasks.indexing.threads import use_threads


def sample_range(available: int) -> int:
    """Return the end of the range of hash positions from 0 on that holds a training sample.

    Image hashes are uniform, so the vectors in any range of them are an unbiased sample of all.
    """
    share = min(1.0, TRAINING_SAMPLE / max(available, 1))
    return int(2**32 * share)


def train(sample: NDArray[np.float16], plan: Plan, *, threads: int) -> tuple[Projection | None, bytes | None]:
    """Learn from an (n, d) sample of the encoder's vectors.

    Returns:
        The projection, None where the plan has none, and the serialised empty trained index, None where the index
        type needs no training.
    """
    use_threads(threads)
    vectors = sample.astype(np.float32)
    projection = learn(vectors, plan.dimension) if plan.project else None
    index = new_index(plan)
    if index.is_trained:
        return projection, None
    index.train(projection(vectors) if projection else normalise(vectors))
    return projection, faiss.serialize_index(index).tobytes()


def new_index(plan: Plan) -> faiss.Index:
    """Return an empty index of the plan's type, for inner products."""
    return faiss.index_factory(plan.dimension, plan.key, faiss.METRIC_INNER_PRODUCT)
