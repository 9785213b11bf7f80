from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from lookalike.tasks.encoders.base import EncoderSpec, scale_to_unit_length
from lookalike.tasks.images.preprocessing import Preprocessing


def test_unit_length() -> None:
    raw = np.array([[3, 4], [0, 0], [1e-30, 0], [3e38, 3e38], [np.nan, 1], [np.inf, 1]], dtype=np.float32)

    unit = scale_to_unit_length(raw)

    assert unit.dtype == np.float32
    expected: list[list[float]] = [[0.6, 0.8], [0, 0], [1, 0], [0.5**0.5, 0.5**0.5], [0, 0], [0, 0]]
    assert np.allclose(unit, expected, rtol=1e-6, atol=0.0)


def test_unit_length_of_nothing() -> None:
    assert scale_to_unit_length(np.empty((0, 5), dtype=np.float32)).shape == (0, 5)


def test_a_spec_travels_as_json() -> None:
    spec = EncoderSpec(
        name="x", fingerprint="0123456789abcdef", dimension=8, preprocessing=Preprocessing(), pooling="gem3"
    )

    assert EncoderSpec.model_validate_json(spec.model_dump_json()) == spec
    with pytest.raises(ValidationError):
        EncoderSpec.model_validate({**spec.model_dump(), "fingerprint": "../../etc"})
