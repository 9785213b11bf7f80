"""An ONNX graph that is written node by node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

CONTRIBUTED = "com.microsoft"
"""The domain of the operators that ONNX Runtime has beside those of ONNX."""

# what ONNX Runtime has read for years
_OPSETS = {"": 18, CONTRIBUTED: 1}
_IR_VERSION = 10


class Graph:
    """Nodes and weights, in the order in which they are added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, operator: str, *inputs: str | NDArray[Any], name: str | None = None, **attributes: Any) -> str:
        """Add a node, and what of its inputs is no node yet; return the name of its output."""
        names = [given if isinstance(given, str) else self.hold(given) for given in inputs]
        output = name or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, names, [output], **attributes))
        return output

    def hold(self, weight: NDArray[Any]) -> str:
        """Add a weight; return its name."""
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(weight), name))
        return name

    def save(
        self, path: Path, name: str, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]
    ) -> None:
        """Write a model, once it is a valid one."""
        used = {node.domain for node in self.nodes}
        proto = helper.make_model(
            helper.make_graph(self.nodes, name, inputs, outputs, self.weights),
            opset_imports=[helper.make_opsetid(domain, _OPSETS[domain]) for domain in sorted(used)],
            ir_version=_IR_VERSION,
            producer_name="lookalike",
        )
        onnx.checker.check_model(proto)
        onnx.save(proto, path)
