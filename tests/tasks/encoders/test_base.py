"""What an encoder is: vectors of length 1, descriptions that are checked, and fingerprints that count everything."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from lookalike.tasks.encoders.base import EncoderSpec, fingerprint, scale_to_unit_length
from lookalike.tasks.encoders.fake import FakeEncoder
from lookalike.tasks.encoders.registry import find_source
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


def test_everything_that_decides_the_vectors_counts() -> None:
    given = {"weights": "w", "pooling": "avg", "version": "1"}
    default = Preprocessing()
    prints = {
        fingerprint(preprocessing=default, **given),
        fingerprint(preprocessing=default, **{**given, "weights": "v"}),
        fingerprint(preprocessing=default, **{**given, "pooling": "gem3"}),
        fingerprint(preprocessing=default, **{**given, "version": "2"}),
        fingerprint(preprocessing=default, **given, model="resnet18"),
        fingerprint(preprocessing=Preprocessing(size=256), **given),
        fingerprint(preprocessing=Preprocessing(fit="crop"), **given),
        fingerprint(preprocessing=Preprocessing(fit="crop", crop_share=0.5), **given),
    }

    assert len(prints) == 8
    assert all(len(digits) == 16 for digits in prints)


def test_it_stays_the_same() -> None:
    """Vectors in stores depend on it: a change here throws them all away."""
    crop = Preprocessing(fit="crop", crop_share=0.5)

    assert fingerprint(weights="w", preprocessing=Preprocessing(), pooling="avg", version="1") == "b2d526e52d5b4528"
    assert fingerprint(weights="w", preprocessing=crop, pooling="avg", version="1") == "9248166c9544c40e"


@pytest.mark.slow
def test_those_of_the_packaged_encoders_stay_the_same() -> None:
    assert FakeEncoder().fingerprint() == "6ce382c914bf96b2"
    assert find_source("efficientnet-lite0").fingerprint() == "7ad1adc39dbe64c9"
    assert find_source("torchvision:resnet50").fingerprint() == "b93016360b8925b3"
