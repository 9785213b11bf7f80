from __future__ import annotations

from lookalike.tasks.encoders.fake import FakeEncoder
from lookalike.tasks.encoders.fingerprints import fingerprint
from lookalike.tasks.encoders.registry import find_source
from lookalike.tasks.images.preprocessing import Preprocessing


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


def test_those_of_the_packaged_encoders_stay_the_same() -> None:
    assert FakeEncoder().fingerprint() == "6ce382c914bf96b2"
    assert find_source("efficientnet-lite0").fingerprint() == "7ad1adc39dbe64c9"
    assert find_source("torchvision:resnet50").fingerprint() == "b93016360b8925b3"
