"""Vectors that are searched."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.tasks.search.shards import some_vectors


@pytest.fixture
def vectors() -> NDArray[np.float32]:
    return some_vectors()
