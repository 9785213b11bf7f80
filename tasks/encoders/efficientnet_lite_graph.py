"""Write the networks of EfficientNet-Lite as ONNX: a second instead of the fifteen that torch's exporter takes.

The exporter traces a network twice and then folds what can be folded. These networks are convolutions with a bias and a
ReLU6, so the folded graph can be written at once. `export.check_parity` compares it with torch all the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
from efficientnet_lite_pytorch import EfficientNet
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lookalike.tasks.encoders.base import EncoderSpec
from lookalike.tasks.encoders.efficientnet_lite_network import (
    MIDDLE_WEIGHT,
    LastLayer,
    TwoLayers,
    find_middle_block,
)
from lookalike.tasks.encoders.export import FromPixels, Gem
from lookalike.tasks.encoders.onnx_graph import Graph


def write(model: FromPixels, spec: EncoderSpec, path: Path) -> None:
    """Write a network behind its normalisation: uint8 (n, size, size, 3) to float32 (n, dimension) for any n.

    `model.backbone` is from `efficientnet_lite_network`.
    """
    backbone = cast("LastLayer | TwoLayers", model.backbone)
    graph = Graph()
    planes = graph.add("Cast", graph.add("Transpose", spec.input_name, perm=[0, 3, 1, 2]), to=TensorProto.FLOAT)
    planes = graph.add("Add", graph.add("Mul", planes, _array(model.scale)), _array(model.shift))
    vectors = _write_backbone(graph, backbone, planes)
    graph.add("Identity", vectors, name=spec.output_name)
    size = spec.preprocessing.size
    images = helper.make_tensor_value_info(spec.input_name, TensorProto.UINT8, ["n", size, size, 3])
    found = helper.make_tensor_value_info(spec.output_name, TensorProto.FLOAT, ["n", spec.dimension])
    graph.save(path, spec.name, [images], [found])


def _write_backbone(graph: Graph, backbone: LastLayer | TwoLayers, planes: str) -> str:
    last, middle = _write_features(graph, backbone.network, planes)
    pooled = _write_gem(graph, backbone.pool, last)
    if isinstance(backbone, LastLayer):
        return pooled
    lengthened = graph.add(
        "Mul", _write_normalize(graph, _write_gem(graph, backbone.pool, middle)), _number(MIDDLE_WEIGHT)
    )
    return graph.add("Concat", _write_normalize(graph, pooled), lengthened, axis=1)


def _write_features(graph: Graph, network: EfficientNet, planes: str) -> tuple[str, str]:
    """Write all blocks; return the last feature map and the middle one."""
    middle_block = find_middle_block(network)
    features = _write_layer(graph, network._conv_stem, network._bn0, planes)
    middle = features
    for number, block in enumerate(network._blocks):
        wide = features
        if hasattr(block, "_expand_conv"):
            wide = _write_layer(graph, block._expand_conv, block._bn0, features)
        if number == middle_block:
            middle = wide
        deep = _write_layer(graph, block._depthwise_conv, block._bn1, wide)
        narrow = _write_convolution(graph, block._project_conv, block._bn2, deep)
        features = graph.add("Add", narrow, features) if _is_residual(block) else narrow
    return _write_layer(graph, network._conv_head, network._bn1, features), middle


def _is_residual(block: Any) -> bool:
    args = block._block_args
    return bool(block.id_skip and args.stride == 1 and args.input_filters == args.output_filters)


def _write_layer(graph: Graph, convolution: nn.Conv2d, norm: nn.BatchNorm2d, features: str) -> str:
    return graph.add("Clip", _write_convolution(graph, convolution, norm, features), _number(0.0), _number(6.0))


def _write_convolution(graph: Graph, convolution: nn.Conv2d, norm: nn.BatchNorm2d, features: str) -> str:
    """Write a convolution with its normalisation folded in, and with the padding that goes before it."""
    folded = fuse_conv_bn_eval(convolution, norm)
    left, right, top, bottom = getattr(convolution.static_padding, "padding", (0, 0, 0, 0))
    return graph.add(
        "Conv",
        features,
        _array(folded.weight),
        _array(cast("Tensor", folded.bias)),
        group=convolution.groups,
        kernel_shape=convolution.kernel_size,
        strides=convolution.stride,
        pads=[top, left, bottom, right],
    )


def _write_gem(graph: Graph, pool: Gem, features: str) -> str:
    powers = graph.add("Pow", graph.add("Max", features, _number(pool.least)), _number(pool.p))
    means = graph.add("ReduceMean", powers, np.array([2, 3]), keepdims=0)
    return graph.add("Pow", means, _number(1.0 / pool.p))


def _write_normalize(graph: Graph, vectors: str) -> str:
    lengths = graph.add("ReduceL2", vectors, np.array([1]), keepdims=1)
    return graph.add("Div", vectors, graph.add("Max", lengths, _number(1e-12)))


def _array(weight: Tensor) -> NDArray[np.float32]:
    return np.asarray(weight.detach().numpy(), np.float32)


def _number(value: float) -> NDArray[np.float32]:
    return np.array(value, dtype=np.float32)
