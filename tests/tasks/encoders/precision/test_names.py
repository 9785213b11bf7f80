"""The precision stands at the end of an encoder's name."""

from __future__ import annotations

import pytest

from lookalike.tasks.encoders.precision.names import Precision, with_precision


@pytest.mark.parametrize(
    ("name", "precision", "found"),
    [
        ("efficientnet-lite0", None, "efficientnet-lite0"),
        ("efficientnet-lite0+int8", None, "efficientnet-lite0+int8"),
        ("efficientnet-lite0", "int8", "efficientnet-lite0+int8"),
        ("efficientnet-lite0+int8", "int8", "efficientnet-lite0+int8"),
        ("efficientnet-lite0+int8", "float32", "efficientnet-lite0"),
        ("efficientnet-lite0+int8", "bfloat16", "efficientnet-lite0+bfloat16"),
        ("efficientnet-lite0+bfloat16", None, "efficientnet-lite0+bfloat16"),
        ("timm:resnet50@/models/a.pth", "int8", "timm:resnet50@/models/a.pth+int8"),
    ],
)
def test_names(name: str, precision: Precision | None, found: str) -> None:
    assert with_precision(name, precision) == found
