"""PCA with whitening: what it must do to vectors, and what it refuses to read."""

from __future__ import annotations

import numpy as np
import pytest

from lookalike.data.errors import CorruptError
from lookalike.tasks.search.projection import Projection, choose_dimension, learn, normalise


def sample(count: int = 2000, dimension: int = 48) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    rng = np.random.default_rng(3)
    scales = np.geomspace(1, 0.05, dimension)
    return (rng.normal(size=(count, dimension)) * scales + 0.3).astype(np.float32)


def test_whitens() -> None:
    vectors = sample()
    projection = learn(vectors, 16)
    mapped = vectors @ projection.matrix[:, :-1].T + projection.matrix[:, -1]
    np.testing.assert_allclose(np.cov(mapped.T), np.eye(16), atol=0.1)
    np.testing.assert_allclose(mapped.mean(axis=0), 0, atol=1e-3)


def test_gives_unit_vectors_and_the_same_ones_after_a_round_trip() -> None:
    vectors = sample()
    projection = learn(vectors, 16)
    mapped = projection(vectors)
    np.testing.assert_allclose(np.linalg.norm(mapped, axis=1), 1, rtol=1e-5)
    again = Projection.from_bytes(projection.to_bytes(), inputs=48, outputs=16)
    np.testing.assert_array_equal(again(vectors), mapped)


@pytest.mark.parametrize(("inputs", "outputs"), [(48, 8), (40, 16)])
def test_refuses_another_shape(inputs: int, outputs: int) -> None:
    data = learn(sample(), 16).to_bytes()
    with pytest.raises(CorruptError, match="projection"):
        Projection.from_bytes(data, inputs=inputs, outputs=outputs)


def test_refuses_what_would_need_unpickling() -> None:
    import io

    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(CorruptError):
        Projection.from_bytes(buffer.getvalue(), inputs=1, outputs=1)


@pytest.mark.parametrize(
    ("samples", "dimension", "wanted"),
    [(10, 1280, None), (127, 1280, None), (128, 1280, 32), (1600, 1280, 256), (9999, 64, 64)],
)
def test_projects_to_as_many_dimensions_as_the_sample_supports(
    samples: int, dimension: int, wanted: int | None
) -> None:
    assert choose_dimension(samples, dimension, 256) == wanted


@pytest.mark.parametrize(
    ("samples", "dimension", "wanted"),
    [(10, 1280, 32), (33, 1280, 64), (127, 1280, 128), (200, 1280, 256), (9999, 1280, 256), (50, 24, None)],
)
def test_keeps_all_directions_of_few_pictures_where_distortions_are_known(
    samples: int, dimension: int, wanted: int | None
) -> None:
    assert choose_dimension(samples, dimension, 256, distorted=10) == wanted


def test_what_distortions_change_decides_less() -> None:
    """Distortions move vectors far in a few directions: a query is found by the others."""
    random = np.random.default_rng(5)
    pictures = random.normal(size=(200, 48)).astype(np.float32)
    changes = random.normal(size=(200, 48)).astype(np.float32) * 0.1
    changes[:, :8] += random.normal(size=(200, 8)) * 5
    differences, asked = changes[:50], pictures[50:] + changes[50:]
    shares = []
    for projection in (learn(pictures, 32), learn(pictures, 32, differences)):
        found = np.argmax(projection(asked) @ projection(pictures).T, axis=1)
        shares.append(float((found == np.arange(50, 200)).mean()))
    assert shares[0] < 0.9
    assert shares[1] > 0.98


@pytest.mark.parametrize("differences", [np.zeros((3, 48), np.float32), sample(1)])
def test_few_differences_or_none_at_all_give_numbers(
    differences: np.ndarray[tuple[int, int], np.dtype[np.float32]],
) -> None:
    for pictures in (sample(), sample(12), np.repeat(sample(1), 200, axis=0)):
        projection = learn(pictures, 32, differences)
        assert projection.matrix.shape == (32, 49)
        assert np.isfinite(projection(sample(9))).all()


def test_a_zero_vector_stays_zero() -> None:
    assert not np.isnan(normalise(np.zeros((1, 4), np.float32))).any()


def test_one_picture_many_times_over_gives_numbers() -> None:
    assert np.isfinite(learn(np.repeat(sample(1), 200, axis=0), 16)(sample(9))).all()
